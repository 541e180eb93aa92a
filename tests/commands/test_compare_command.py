"""What a person sees who compares methods: one table, or one line that says what to do."""

import shutil
import sys
from pathlib import Path

import pytest
import torch

from regap.analyses.runs.records import Record, table_path
from regap.commands import command_line
from regap.geometry.data.pair_files import write_pairs
from regap.interventions.defences.catalogue import METHODS
from regap.organism.checkpoint import load_checkpoint
from regap.organism.family import organism_folder
from regap.organism.prompts import HeldOut, held_out_pairs


@pytest.fixture
def regap(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command line in this process; returns exit code, standard error and standard output."""

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["regap", *map(str, arguments)])
        monkeypatch.setenv("REGAP_STRENGTHS", "[1.0]")
        monkeypatch.setattr("regap.analyses.comparison.tables.ROUNDS", 1)
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
    asked = ("--method", "shiftdc_text", "--method", "leace", "--max-new-tokens", 4)
    code, error, shown = regap("compare", "--pairs", pairs_file, "--out", out, *asked)
    assert code == 0, error
    assert set(Record.load(out, "methods").table["method"]) == {"none", "shiftdc_text", "leace"}
    assert "ShiftDC, perfect captions" in shown and "text + 1 x last token" in shown
    assert "left out" not in shown
    assert (out / "figures" / "methods.html").is_file()


def test_methods_may_act_at_image_tokens_and_the_table_shows_where(
    regap, pairs_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = ("--method", "leace", "--method", "safeptr", "--max-new-tokens", 4)
    code, error, shown = regap("compare", "--pairs", pairs_file, "--out", out, *asked, "--positions", "image")
    assert code == 0, error
    settings = Record.load(out, "method_settings").table.set_index("method")
    assert "/ image /" in settings.loc["leace", "site"] and "/ image /" in settings.loc["safeptr", "site"]
    assert settings.loc["safeptr", "passes"] == 1 and "1 x prompt" in shown and " image" in shown
    code, error, _ = regap("compare", "--pairs", pairs_file, "--out", out, *asked, "--positions", "first")
    assert code == 2 and "positions are 'first'; write last, image or last,image" in error


@pytest.mark.parametrize(
    ("method", "remedy"),
    [
        ("shift", "method is 'shift'; choose from none, refusal_addition"),
        ("shiftdc", "method shiftdc cannot be compared: it needs an arm caption"),
        ("mars", "add --make blank-colour"),
    ],
)
def test_a_method_that_cannot_be_run_is_refused_before_anything_is_made(
    regap, pairs_file: Path, tmp_path: Path, method: str, remedy: str
) -> None:
    code, error, _ = regap("compare", "--pairs", pairs_file, "--out", tmp_path / "out", "--method", method)
    assert (code, remedy in error) == (2, True)
    assert not (tmp_path / "out").exists()


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file that is the same whenever the same is run."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "method_times.parquet"
    }


def test_all_but_the_times_is_the_same_byte_for_byte(regap, pairs_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = (
        "--method",
        "cast",
        "--method",
        "ecso",
        "--contrast",
        "world",
        "--limit",
        5,
        "--max-new-tokens",
        8,
    )
    found = []
    for _ in range(2):
        code, error, _ = regap("compare", "--pairs", pairs_file, "--out", out, *asked)
        assert code == 0, error
        found.append(files_of(out))
        assert table_path(out, "method_times").is_file()
        shutil.rmtree(out)
    assert found[0] == found[1]
    kept = {Path(name).name for name in found[0]}
    assert {"methods.parquet", "method_settings.parquet", "methods.html"} <= kept


def test_a_family_is_compared_in_one_command_and_what_cannot_be_fitted_is_told(
    regap, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: METHODS[name] for name in ("none", "shiftdc", "adasteer_both", "mars")}
    monkeypatch.setattr("regap.analyses.comparison.choice.METHODS", few)  # the others would only take time
    out = tmp_path / "out"
    code, error, shown = regap(
        *("compare", "--pairs", pairs_file, "--out", out, "--family", "organism:full", "--max-new-tokens", 8),
    )
    assert code == 0, error
    assert set(Record.load(out, "methods").table["model"]) == {"organism", "organism:full"}
    gaps = Record.load(out, "method_gaps").table
    assert {"shiftdc", "mars"} == set(gaps[gaps["model"] == "organism"]["method"])
    [reason] = gaps[(gaps["model"] == "organism:full") & (gaps["method"] == "adasteer_both")]["reason"]
    assert reason.startswith(
        "all 5 harmful calibration images in arm typographic are refused and were dropped"
    )
    assert f"adasteer_both is left out on organism:full: {reason}" in " ".join(shown.split())


def test_an_empty_class_stops_a_method_that_was_named(regap, pairs_file: Path, tmp_path: Path) -> None:
    asked = ("--pairs", pairs_file, "--model", "organism:full", "--method", "adasteer_both")
    code, error, _ = regap("compare", *asked, "--out", tmp_path / "out")
    assert code == 2
    assert "error: all 5 harmful calibration images" in error and "use adasteer" in error


def test_states_that_are_no_numbers_are_one_line(regap, pairs_file: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(organism_folder(), tmp_path / "broken")
    model = load_checkpoint(broken)
    with torch.no_grad():
        next(iter(model.model.language_model.layers[3].parameters())).fill_(float("nan"))
    model.save_pretrained(broken)
    code, error, _ = regap("compare", "--pairs", pairs_file, "--model", broken, "--out", tmp_path / "out")
    assert code == 2
    assert "its states are not finite without any edit" in error and "Traceback" not in error
