"""No flag is passed over in silence, and nothing is written into a folder that holds no run."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from regap import __version__
from regap.analyses.runs.records import Record


@pytest.mark.parametrize("command", ["figures", "report"])
@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_that_holds_no_run_is_left_alone(regap, command: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, told, _ = regap(command, tmp_path / name)
    assert code == 2 and "does not hold a run; name a folder that `regap run` made" in told
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("flags", [("--style", "slides"), ("--out", "somewhere"), ("--width", "80")])
def test_flags_of_print_without_a_format_are_refused(regap, flags: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    code, told, _ = regap("figures", tmp_path, *flags)
    assert code == 2 and "add --format pdf, svg or png" in told


def test_pairs_are_written_as_parquet_alone(regap, tmp_path: Path) -> None:
    code, told, _ = regap("organism", "pairs", "--out", tmp_path / "pairs.csv")
    assert code == 2 and "give it a name that ends in .parquet" in told
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_settles_cannot_be_set_again(regap, tmp_path: Path) -> None:
    code, told, _ = regap("calibrate", tmp_path, "--seed", 3)
    assert code == 2 and f"--seed is fixed by the run folder {tmp_path}" in told


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--endpoint-key", "KEY"), "--endpoint-key and --endpoint-rate need --endpoint"),
        (("--endpoint-rate", "3"), "--endpoint-key and --endpoint-rate need --endpoint"),
        (("--device", "cpu"), "--device needs --model-judge or --first-token"),
    ],
)
def test_flags_of_a_judge_that_is_not_asked_for_are_refused(
    regap, flags: tuple[str, str], says: str, tmp_path: Path
) -> None:
    code, told, _ = regap("judge", tmp_path, *flags)
    assert code == 2 and says in told


def test_the_version_is_told(regap) -> None:
    assert regap("--version") == (0, "", f"regap {__version__}\n")


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with separability of two layers in two arms, and its claims."""
    estimate = {"low": 0.1, "high": 0.9, "n": 10, "model": "m", "direction": "refusal"}
    estimate["condition"] = "baseline"
    rows = [
        {"layer": layer, "arm": arm, "measure": measure, "value": 0.5, **estimate}
        for layer in (0, 1)
        for arm in ("text", "typographic")
        for measure in ("d_prime", "auroc")
    ]
    folder = tmp_path_factory.mktemp("run")
    Record("separability", pd.DataFrame(rows)).save(folder)
    return folder


def test_options_of_a_figure_that_it_does_not_have_are_refused(regap, small_run: Path) -> None:
    code, told, _ = regap("figures", small_run, "--only", "outcomes", "--layer", 1)
    assert code == 2 and "layer=1 is not an option of the figure outcomes" in told


@pytest.mark.parametrize(
    "flags", [("--layer", 1), ("--measure", "auroc"), ("--arm", "text"), ("--width", 80)]
)
def test_runs_in_one_figure_have_no_options(regap, small_run: Path, tmp_path: Path, flags: tuple) -> None:
    code, told, _ = regap("figures", small_run, small_run, "--out", tmp_path, *flags)
    assert code == 2 and "2 runs are drawn in one figure" in told


def test_several_figures_are_drawn_by_name(regap, small_run: Path) -> None:
    code, told, shown = regap("figures", small_run, "--only", "separability", "--only", "claims")
    assert code == 2 and "claims" in told, shown
    code, told, shown = regap(
        "figures", small_run, "--only", "separability", "--measure", "auroc", "--arm", "text"
    )
    assert code == 0 and "separability_by_layer" in shown, told


def test_the_version_is_told_by_the_module_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "regap", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"regap {__version__}"


def test_the_flags_of_a_command_are_the_settings_it_takes(regap) -> None:
    from regap.analyses.runs.config import RunConfig

    code, _, shown = regap("run", "--help")
    told = "".join(shown.split())
    assert code == 0
    for name in ("model", "judge", "layers", "system", "strengths", "columns", "labels", "seed"):
        assert f"--{name}" in told and RunConfig.model_fields[name].description
    assert "--position" not in told and "--arms" not in told and "--arm<" in told


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("run", ("--force", "--config")),
        ("capture", ("--position",)),
        ("sweep", ("--strengths", "--model", "--pairs")),
        ("ablate", ("--model", "--pairs")),
        ("judge", ("--model", "--pairs")),
        ("utility", ("--model", "--pairs")),
        ("figures", ("--layer", "--measure", "--arm", "--width")),
        ("explore", ("--model", "--pairs")),
    ],
)
def test_flags_that_people_look_for_are_there(regap, command: str, flags: tuple[str, ...]) -> None:
    code, _, shown = regap(command, "--help")
    assert code == 0 and all(flag in shown for flag in flags)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (
            ("--labels", "unsafe=evil", "--pairs", "p.csv"),
            "labels map unsafe to 'evil'; write one of harmful, harmless",
        ),
        (
            ("--columns", "prompt", "--pairs", "p.csv"),
            "setting columns is ['prompt']: write each as FILE=REGAP",
        ),
        (("--columns", "prompt=text"), "columns, labels, splits and arm_names need a pairs file"),
        (
            ("--splits", "train=fit", "--pairs", "p.csv"),
            "splits map train to 'fit'; write one of calibration",
        ),
        (("--layers", "3-"), "write numbers below 10,000 and ranges, such as 3-7,10"),
        (("--judge", "nobody", "--limit", "4"), "judge is 'nobody'; choose auto or one of"),
        (
            ("--limit", "4"),
            "limit is 4 (--limit), and a correction is chosen on at least 5 calibration pairs",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(regap, flags, says: str, tmp_path: Path) -> None:
    code, told, _ = regap("run", *flags, "--out", tmp_path / "out")
    assert code == 2 and says in told
    assert not (tmp_path / "out").exists()
