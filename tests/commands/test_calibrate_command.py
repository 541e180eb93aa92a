"""`regap calibrate` refuses what it cannot use in one line, before a model is loaded."""

from pathlib import Path

import pytest

from regap.analyses.calibration.recipes import calibrate_recipe, config_of_run
from regap.analyses.runs.config import RunConfig, as_toml
from regap.errors import ConfigError


def test_the_settings_of_a_run_are_used_again_without_its_captions(tmp_path: Path) -> None:
    kept = RunConfig.model_validate(
        {"model": "organism:wide", "make": ("blank", "caption"), "seed": 7, "signal": "rho"}
    )
    (tmp_path / "config.toml").write_text(as_toml(kept))
    found = config_of_run(tmp_path, false_refusals=0.02, signal="auto")
    assert (found.model, found.seed, found.make) == ("organism:wide", 7, ("blank",))
    assert (found.false_refusals, found.signal, found.out) == (0.02, "auto", str(tmp_path))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"holds no config\.toml; name the folder of a run, or give --model"
    ):
        config_of_run(tmp_path)


def test_an_unknown_signal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(as_toml(RunConfig.model_validate({})))
    with pytest.raises(ConfigError, match="setting signal is 'drift'"):
        config_of_run(tmp_path, signal="drift")


def test_test_pairs_of_a_run_are_not_asked_a_second_time(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="held_out goes with --model and a folder of its own"):
        calibrate_recipe(RunConfig.model_validate({"out": str(tmp_path)}), beside=True, held_out=True)
