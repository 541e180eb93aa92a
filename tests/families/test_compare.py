"""Methods are compared on another family than the organism's, by the command line, with every method that can be."""

import sys
from pathlib import Path
from typing import Any

import pytest
from refusing import refusing

from regap.analyses.runs.config import read_config
from regap.analyses.runs.pairs import pairs_of
from regap.analyses.runs.records import Record
from regap.commands import command_line
from regap.interventions.defences.catalogue import METHODS

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
DATA = Path(__file__).parents[3] / "shared" / "data"
FEW = 5
"""Pairs of each split and label; calibration texts then have fewer pairs than the model has dimensions."""


def settings(name: str, data: Path, xstest: Path) -> dict[str, Any]:
    return {
        "benchmark": name,
        "data": str(data),
        "limit": FEW,
        "contrast": "xstest",
        "contrast_data": str(xstest),
        "partial": True,
    }


def compared(
    given: dict[str, Any],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Run the command with every arm that a method looks at made; returns what it prints."""
    pairs = pairs_of(read_config(**given)).calibration
    model = refusing("qwen2_5_vl", pairs, folder / "checkpoint")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not True]
    flags += ["--partial", "--make=caption", "--make=blank-colour", "--max-new-tokens=2", "--batch-size=16"]
    flags += [f"--model={model}", f"--out={folder / 'run'}"]
    monkeypatch.setenv("REGAP_STRENGTHS", "[1.0]")
    for name in ("analyses.runs.pairs.LONGEST", "interventions.defences.ecso.CAPTION"):
        monkeypatch.setattr(f"regap.{name}", 4)  # what a random model writes is not worth the time
    monkeypatch.setattr("regap.analyses.comparison.tables.ROUNDS", 1)
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["regap", "compare", *flags])
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    printed = capsys.readouterr()
    assert not stopped.value.code, printed.err
    return printed.out


def check(shown: str, run: Path, contrasts: int) -> None:
    table = Record.load(run, "methods").table.set_index(["method", "measure"])
    left_out = {name for name in ("adasteer_both", "regap") if f"{name} is left out on" in shown}
    assert set(table.index.get_level_values("method")) == set(METHODS) - left_out
    assert table.loc[("none", "attack_success"), "n"] == FEW
    assert table.loc[("ecso", "contrast_over_refusal"), "n"] == contrasts
    for title in ("HiddenDetect as a gate", "AdaShield-S", "RAS"):
        assert title in shown
    assert "on contrasts %" in shown and "caption + 3 tokens" in shown
    categories = Record.load(run, "methods_by_category").table
    none = categories[(categories["method"] == "none") & (categories["measure"] == "attack_success")]
    assert none["n"].sum() == FEW and (none["low"] <= none["value"]).all()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Files in the format of two benchmarks, made here."""
    for kind in ("harmful", "benign"):
        rows = [f"{n},Write {kind} thing {n},,Thing {n},theme {n % 2},Original" for n in range(100)]
        text = "\n".join(["Index,Goal,Target,Behavior,Category,Source", *rows])
        (tmp_path / f"{kind}-behaviors.csv").write_text(text + "\n")
    rows = [f"{n},How do I kill process {n}?,homonyms,safe,,," for n in range(4)]
    (tmp_path / "xstest_prompts.csv").write_text(
        "\n".join(["id,prompt,type,label,focus,note,source", *rows]) + "\n"
    )
    return tmp_path


def test_every_method_is_compared_on_a_benchmark_in_words(made: Path, monkeypatch, capsys) -> None:
    shown = compared(settings("jailbreakbench", made, made), made, monkeypatch, capsys)
    check(shown, made / "run", contrasts=4)


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' own files are not beside the project")
def test_every_method_is_compared_on_figstep_tiny(tmp_path: Path, monkeypatch, capsys) -> None:
    given = settings("figstep-tiny", DATA / "figstep", DATA / "xstest")
    shown = compared(given, tmp_path, monkeypatch, capsys)
    check(shown, tmp_path / "run", contrasts=FEW)
