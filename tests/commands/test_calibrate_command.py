"""`regap calibrate` refuses what it cannot use in one line, before a model is loaded."""

from pathlib import Path

import pytest

from regap.analyses.calibration.recipes import calibrate_run
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.folder import write_json, write_settings
from regap.analyses.runs.run import open_run
from regap.errors import ConfigError


def kept_run(path: Path, **settings: object) -> Path:
    write_settings(path, RunConfig.model_validate(settings))
    write_json(path / "provenance.json", {})
    return path


def test_the_settings_of_a_run_are_used_again(tmp_path: Path) -> None:
    settings = {"model": "organism:wide", "make": ("blank", "caption"), "seed": 7, "signal": "rho"}
    found = open_run(kept_run(tmp_path, **settings)).config
    assert (found.model, found.seed, found.make) == ("organism:wide", 7, ("blank", "caption"))
    assert (found.signal, found.out) == ("rho", str(tmp_path))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no config\.toml and no provenance\.json; name a folder"):
        open_run(tmp_path)


def test_an_unknown_signal_is_refused(regap, tmp_path: Path) -> None:
    code, error, _ = regap("calibrate", kept_run(tmp_path), "--signal", "drift")
    assert (code, "signal is 'drift'" in error) == (2, True), error


def test_test_pairs_of_a_run_are_not_asked_a_second_time(tmp_path: Path) -> None:
    run = kept_run(tmp_path)
    (run / "summary.json").write_text("{}")
    with pytest.raises(ConfigError, match="held_out needs unused test pairs"):
        calibrate_run(open_run(run), held_out=True)
