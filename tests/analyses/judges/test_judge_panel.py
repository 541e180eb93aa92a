"""What `regap judge` leaves in a run folder, and what it says to a folder that it cannot judge."""

import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from regap.analyses.judges.judge_panel import panel, save_panel
from regap.analyses.judges.registry import judges_named
from regap.analyses.judges.stored_answers import stored_answers
from regap.analyses.runs.questions import questions_of
from regap.analyses.runs.records import Record, table_path
from regap.analyses.tables.parquet_files import write_sealed_table
from regap.commands import command_line
from regap.errors import ConfigError

MakeRun = Callable[..., Path]
ANSWERS = [
    ("baseline", "a", "right a", "complied"),
    ("baseline", "b", "Hello! This is how.", "complied"),
    ("baseline", "h1", "right h1", "complied"),
    ("baseline", "h2", "No, it is [red]safe[/].", "complied"),
    ("regap", "a", "I'm sorry, no.", "refused"),
    ("regap", "b", "I'm sorry, no.", "refused"),
    ("regap", "h1", "right h1", "complied"),
    ("regap", "h2", "", "degenerate"),
]
JUDGED_AGAIN = {
    "xstest_prefixes": [
        *("complied", "complied", "complied", "refused"),
        *("refused", "refused", "complied", "degenerate"),
    ],
    "exact_answer": [
        *("complied", "degenerate", "complied", "degenerate"),
        *("refused", "refused", "complied", "degenerate"),
    ],
}


def judged(folder: Path, *names: str) -> dict[str, Record]:
    found = panel(stored_answers(folder), judges_named(names), folder)
    return {record.name: record for record in save_panel(found, folder)}


def test_answers_are_read_back_with_the_request_that_was_made(make_run: MakeRun, tmp_path: Path) -> None:
    stored = stored_answers(make_run(tmp_path, ANSWERS))
    assert (stored.model, stored.judge, len(stored.answers)) == ("m", "by hand", 8)
    first = stored.answers[0]
    assert (first.pair.request, first.pair.answer, first.pair.label) == (
        "request a <image>",
        "right a",
        "harmful",
    )
    assert [one.completion.text for one in stored.answers] == [text for _, _, text, _ in ANSWERS]
    assert {one.completion.first_token for one in stored.answers} == {7}


def test_a_folder_without_right_answers_is_read_too(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path, ANSWERS)
    prompts = pd.read_parquet(folder / "prompts.parquet")
    write_sealed_table(
        folder / "prompts.parquet", pa.Table.from_pandas(prompts.drop(columns=["answer", "cluster"]))
    )
    pairs = [one.pair for one in stored_answers(folder).answers]
    assert {(pair.answer, pair.cluster == pair.pair_id) for pair in pairs} == {(None, True)}


def test_the_runs_own_verdicts_come_first_and_the_others_beside_them(
    make_run: MakeRun, tmp_path: Path
) -> None:
    folder = make_run(tmp_path, ANSWERS)
    judged(folder, *JUDGED_AGAIN)
    table = Record.load(folder, "verdicts").table
    assert list(dict.fromkeys(table["judge"])) == ["by hand", *JUDGED_AGAIN]
    for name, verdicts in {"by hand": [v for *_, v in ANSWERS], **JUDGED_AGAIN}.items():
        assert table.loc[table["judge"] == name, "verdict"].tolist() == verdicts, name
    judged(folder, "xstest_prefixes")
    assert set(Record.load(folder, "verdicts").table["judge"]) == {"by hand", "xstest_prefixes"}


def test_agreement_is_told_for_all_answers_and_for_each_part(make_run: MakeRun, tmp_path: Path) -> None:
    records = judged(make_run(tmp_path, ANSWERS), "xstest_prefixes")
    table = records["agreement"]
    whole = table.where(condition="all", arm="all", label="all", measure="agreement")
    assert whole[["value", "n", "first", "second"]].values.tolist() == [
        [7 / 8, 8, "by hand", "xstest_prefixes"]
    ]
    part = table.where(condition="baseline", label="harmless", measure="agreement")
    assert part[["value", "n"]].values.tolist() == [[0.5, 2]]
    rows = records["disagreements"].table
    told = rows[["condition", "pair_id", "first_verdict", "second_verdict", "second_reason"]].values.tolist()
    assert told == [["baseline", "h2", "complied", "refused", "opens with 'no,'"]]


def test_judges_that_agree_have_no_table_of_disagreements(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path, ANSWERS)
    assert "disagreements" not in judged(folder, "refusal_direction_phrases")
    assert not table_path(folder, "disagreements").exists()


def test_two_panels_are_kept_side_by_side_and_the_newest_is_read_first(
    make_run: MakeRun, tmp_path: Path
) -> None:
    folder = make_run(tmp_path, ANSWERS)
    own = (folder / "tables" / "verdicts.parquet").read_bytes()
    judged(folder, "xstest_prefixes")
    judged(folder, "refusal_direction_phrases")
    newest, older = questions_of(folder)
    assert [one.settings["judges"][1:] for one in (newest, older)] == [
        ["refusal_direction_phrases"],
        ["xstest_prefixes"],
    ]
    assert "disagreements" in older.tables and "disagreements" not in newest.tables
    assert set(Record.load(folder, "verdicts").table["judge"]) == {"by hand", "refusal_direction_phrases"}
    assert (folder / "tables" / "verdicts.parquet").read_bytes() == own
    judged(folder, "xstest_prefixes")
    assert [one.folder for one in questions_of(folder)] == [older.folder, newest.folder]


def test_a_correction_is_compared_with_none_on_the_same_prompts(make_run: MakeRun, tmp_path: Path) -> None:
    answers = [("baseline", f"a{place}", "right", "complied") for place in range(12)]
    answers += [("fixed", f"a{place}", "right", "complied") for place in range(12)]
    answers += [("regap", f"a{place}", "sorry", "refused") for place in range(12)]
    answers += [(name, "h", "right h", "complied") for name in ("baseline", "fixed", "regap")]
    table = judged(make_run(tmp_path, answers), "xstest_prefixes")["comparisons"]
    rows = table.where(judge="by hand", measure="attack_success").set_index("condition")
    assert rows.loc["regap", "value"] == -1 and rows.loc["fixed", "value"] == 0
    assert rows.loc["regap", "p"] == pytest.approx(2 * 0.5**12)
    assert rows.loc["regap", "p_holm"] == pytest.approx(4 * 0.5**12) and rows.loc["fixed", "p_holm"] == 1
    assert rows["p_equivalent"].isna().all() and 0 < rows.loc["fixed", "detectable"] < 1
    utility = table.where(judge="by hand", measure="utility")
    assert (
        utility["p_equivalent"].tolist() == [pytest.approx(0.95)] * 2 and utility["detectable"].isna().all()
    )


@pytest.mark.parametrize("lost", ["prompts.parquet", "tables/completions.parquet", "tables/verdicts.parquet"])
def test_an_unfinished_run_is_refused(lost: str, make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path, ANSWERS)
    (folder / lost).unlink()
    with pytest.raises(ConfigError, match=f"has no {Path(lost).name}; name a folder"):
        stored_answers(folder)


def test_a_completion_without_a_verdict_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path, ANSWERS)
    verdicts = Record.load(folder, "verdicts").table
    Record("verdicts", verdicts.iloc[1:]).save(folder)
    with pytest.raises(ConfigError, match="without a verdict or a prompt"):
        stored_answers(folder)


def test_the_command_prints_agreement_and_spreads_no_long_answer(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    long = ("baseline", "c", "No, " + "step " * 60, "complied")
    folder = make_run(tmp_path, [*ANSWERS, long])

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["regap", "judge", str(folder), *arguments])
        with pytest.raises(SystemExit) as stopped:
            command_line.main()
        printed = capsys.readouterr()
        return stopped.value.code or 0, printed.out, printed.err

    code, out, _ = run("--judge", "xstest_prefixes")
    assert code == 0 and "Cohen's kappa" in out and "No, it is [red]safe[/]." in out and "…" in out
    assert max(len(line) for line in out.splitlines() if "step" in line) < 200 and "any" in out
    code, _, err = run("--judge", "oracle")
    assert code == 2 and "judge is 'oracle'; choose one of exact_answer" in err
