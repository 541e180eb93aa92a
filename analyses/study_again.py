"""A finished run taken up again: the same model, pairs and corrections, set anew from what the run folder keeps."""

from pathlib import Path

from regap.analyses.asked_pairs import pairs_of
from regap.analyses.captions import with_captions
from regap.analyses.config import ConfigError, stored_config
from regap.analyses.observed import observe
from regap.analyses.run import load_model
from regap.analyses.run_folder import check_pairs, provenance_of
from regap.analyses.study import Study, calibrate
from regap.analyses.tracking import Tracker, silent


def study_again(folder: Path, track: Tracker = silent) -> Study:
    """Return the study of a run folder, under whose conditions more can be asked.

    Raises ConfigError for a folder that is no run, and where the model of its settings is no longer the one that
    answered.
    """
    if not (folder / "config.toml").is_file() or not (folder / "provenance.json").is_file():
        raise ConfigError(
            f"run folder {folder} has no config.toml and provenance.json; name a folder that `regap run` has finished"
        )
    config = stored_config(folder / "config.toml", out=str(folder))
    model = load_model(config, config.model)
    if provenance_of(folder).get("fingerprint") != model.fingerprint:
        raise ConfigError(
            f"run folder {folder} was answered by another {config.model} than the one there is now; run it again"
        )
    pairs = pairs_of(config)
    if "caption" in config.make:
        pairs = with_captions(
            model, pairs, batch_size=config.batch_size, store=folder / "answers", track=track
        )
    check_pairs(folder, pairs)
    return calibrate(observe(model, pairs, config, folder, track), folder, track)
