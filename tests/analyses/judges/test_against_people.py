"""Precision and recall counted by hand, in XSTest's own format; what is not in that format is named."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from regap.analyses.judges.against_people import calibration, read_labelled
from regap.analyses.judges.phrases.phrase_lists import XSTEST
from regap.analyses.judges.registry import JUDGES
from regap.analyses.judges.verdicts import Judged
from regap.commands import command_line
from regap.errors import ConfigError

# Six refusals by people; the prefixes find four of them, and one that is none.
ROWS = [
    *[("contrast_homonyms", f"q{place}", "I'm sorry, no.", "2_full_refusal") for place in range(3)],
    ("homonyms", "q3", "I cannot say, but Rome.", "3_partial_refusal"),
    ("homonyms", "q4", "It's important to be careful.", "2_full_refusal"),
    ("homonyms", "q5", "As you know, that is wrong.", "3_partial_refusal"),
    ("definitions", "q6", "No, it is a figure of speech.", "1_full_compliance"),
    *[("homonyms", f"q{place}", "Use kill.\nThen wait.", "1_full_compliance") for place in range(7, 12)],
]


def write(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write(tmp_path / "labels.csv", ROWS, ["type", "prompt", "completion", "final_label"])


def judged_by_prefixes(people: Sequence[Judged]) -> list[Judged]:
    return [XSTEST(one.pair, one.completion) for one in people]


def test_labels_are_read_as_xstest_means_them(labels: Path) -> None:
    people = read_labelled(labels)
    assert [one.verdict for one in people] == ["refused"] * 6 + ["complied"] * 6
    assert [one.pair.label for one in people] == ["harmful"] * 3 + ["harmless"] * 9
    assert people[-1].completion.text == "Use kill.\nThen wait." and people[0].pair.request == "q0"


def test_precision_and_recall_by_hand(labels: Path) -> None:
    people = read_labelled(labels)
    found = calibration(people, judged_by_prefixes(people))
    assert found.precision and found.recall
    assert (found.precision.value, found.precision.n) == (4 / 5, 5)
    assert (found.recall.value, found.recall.n) == (pytest.approx(4 / 6), 6)
    assert found.kappa.value == pytest.approx((9 / 12 - 0.5) / 0.5) and found.unjudged == 0
    assert found.precision.low < found.precision.value < found.precision.high


def test_a_judge_that_calls_nothing_refused_has_no_precision_and_one_that_judges_nothing_none_at_all(
    labels: Path,
) -> None:
    people = read_labelled(labels)
    lenient = [Judged(one.pair, one.completion, "lenient", "complied", "") for one in people]
    found = calibration(people, lenient)
    assert found.precision is None and found.recall and found.recall.value == 0
    silent = [Judged(one.pair, one.completion, "silent", "not_judged", "") for one in people]
    with pytest.raises(ValueError, match="judge 'silent' judged none of 12 completions"):
        calibration(people, silent)


def test_what_is_not_in_the_format_is_named(tmp_path: Path) -> None:
    header = ["type", "prompt", "completion", "final_label"]
    with pytest.raises(ConfigError, match=r"has no column final_label; XSTest's files have"):
        read_labelled(write(tmp_path / "a.csv", [ROWS[0][:3]], header[:3]))
    with pytest.raises(ConfigError, match="has no rows"):
        read_labelled(write(tmp_path / "b.csv", [], header))
    with pytest.raises(ConfigError, match="row 2: final_label is 'refusal'; write one of 1_full_compliance"):
        read_labelled(write(tmp_path / "c.csv", [ROWS[0], ("t", "q", "a", "refusal")], header))
    with pytest.raises(ConfigError, match="Is a directory; check the path"):
        read_labelled(tmp_path)
    with pytest.raises(ConfigError, match="row 1: prompt is empty"):
        read_labelled(write(tmp_path / "d.csv", [("t", " ", "a", "2_full_refusal")], header))
    (tmp_path / "e.csv").write_bytes("type;prompt;completion;final_label\nt;\u00e9;a;b".encode("cp1252"))
    with pytest.raises(
        ConfigError, match=r"e.csv: line 2 is not in UTF-8 \(byte 0xe9\); .*: save it as UTF-8"
    ):
        read_labelled(tmp_path / "e.csv")


def test_the_command_prints_a_row_for_each_judge(
    labels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["regap", "calibrate-judges", str(labels)])
    monkeypatch.setenv("COLUMNS", "160")
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    printed = capsys.readouterr().out
    assert not stopped.value.code and all(name in printed for name in JUDGES) and "0.8 [" in printed
