"""No flag is passed over in silence, and nothing is written into a folder that holds no run."""

from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["figures", "report"])
@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_that_holds_no_run_is_left_alone(regap, command: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, told, _ = regap(command, tmp_path / name)
    assert code == 2 and "holds no run; name a folder that `regap run` made" in told
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("flags", [("--style", "slides"), ("--out", "somewhere")])
def test_flags_of_print_without_a_format_are_refused(regap, flags: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    code, told, _ = regap("figures", tmp_path, *flags)
    assert code == 2 and "add --format pdf, svg or png" in told


def test_pairs_are_written_as_parquet_alone(regap, tmp_path: Path) -> None:
    code, told, _ = regap("organism", "pairs", "--out", tmp_path / "pairs.csv")
    assert code == 2 and "give it a name that ends in .parquet" in told
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_settles_cannot_be_set_again(regap, tmp_path: Path) -> None:
    code, told, _ = regap("calibrate", tmp_path, "--device", "cuda")
    assert code == 2 and f"--device is settled by the run folder {tmp_path}" in told


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--endpoint-key", "KEY"), "--endpoint-key and --endpoint-rate go with --endpoint"),
        (("--endpoint-rate", "3"), "--endpoint-key and --endpoint-rate go with --endpoint"),
        (("--device", "cpu"), "--device is where a --model-judge is loaded"),
    ],
)
def test_flags_of_a_judge_that_is_not_asked_for_are_refused(
    regap, flags: tuple[str, str], says: str, tmp_path: Path
) -> None:
    code, told, _ = regap("judge", tmp_path, *flags)
    assert code == 2 and says in told
