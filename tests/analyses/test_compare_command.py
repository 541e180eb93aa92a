"""What a person sees who compares methods: one table, or one line that says what to do."""

import sys
from pathlib import Path

import pytest

from regap.analyses import command_line
from regap.analyses.records import Record
from regap.geometry.pair_files import write_pairs
from regap.organism.prompts import HeldOut, held_out_pairs


@pytest.fixture
def regap(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command line in this process; returns exit code, standard error and standard output."""

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["regap", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            command_line.main()
        printed = capsys.readouterr()
        return stopped.value.code or 0, " ".join(printed.err.split()), printed.out

    return run


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.parquet"
    write_pairs(held_out_pairs(HeldOut(5, 5, 5, arms=("text", "typographic"))), path)
    return path


def test_methods_are_compared_printed_and_drawn(regap, pairs_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("--method", "shiftdc_text", "--method", "leace", "--max-new-tokens", 8)
    code, error, shown = regap("compare", "--pairs", pairs_file, "--out", out, *asked)
    assert code == 0, error
    assert set(Record.load(out, "methods").table["method"]) == {"none", "shiftdc_text", "leace"}
    assert "ShiftDC, perfect captions" in shown and "text + 1 x last token" in shown
    assert "note: not compared: refusal_addition" in shown
    assert (out / "figures" / "methods.html").is_file()


@pytest.mark.parametrize(
    ("method", "remedy"),
    [
        ("shift", "method is 'shift'; choose from none, refusal_addition"),
        ("shiftdc", "method shiftdc needs an arm caption"),
        ("mars", "add --make blank-colour"),
    ],
)
def test_a_method_that_cannot_be_run_is_refused_before_anything_is_made(
    regap, pairs_file: Path, tmp_path: Path, method: str, remedy: str
) -> None:
    code, error, _ = regap("compare", "--pairs", pairs_file, "--out", tmp_path / "out", "--method", method)
    assert (code, remedy in error) == (2, True)
    assert not (tmp_path / "out").exists()
