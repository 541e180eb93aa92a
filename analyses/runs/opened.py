"""A run folder taken up again: its settings, its model and its pairs; what it keeps is not computed twice."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from regap.analyses.runs.pairs import pairs_of
from regap.analyses.runs.captions import with_captions
from regap.analyses.runs.config import RunConfig, stored_config
from regap.errors import ConfigError
from regap.analyses.runs.measured import Measured, measure_model
from regap.analyses.runs.run import load_model
from regap.analyses.runs.folder import check_pairs, provenance_of
from regap.analyses.runs.calibrated import Calibrated, calibrate
from regap.analyses.runs.progress import Tracker, silent
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.data.pairs import Pairs


@dataclass(frozen=True, eq=False)
class Reopened:
    """A run's model and pairs, the ones that its folder belongs to."""

    folder: Path
    config: RunConfig
    model: Model = field(repr=False)
    pairs: Pairs = field(repr=False)

    def measure_model(self, track: Tracker = silent) -> Measured:
        """Return the model as it was observed on the pairs; what the folder keeps is not run again."""
        return measure_model(self.model, self.pairs, self.config, self.folder, track)


def settings_of_run(folder: Path, model: str | None = None) -> RunConfig:
    """Return the settings of a run, its folder the one named; raises ConfigError if it is no run folder.

    model: where the run's model is found now, if no longer where it was.
    """
    missing = [name for name in ("config.toml", "provenance.json") if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"run folder {folder} has no {' and no '.join(missing)}; name a folder that `regap run` made"
        )
    return stored_config(folder / "config.toml", model=model, out=str(folder))


def reopen(
    folder: Path, config: RunConfig, track: Tracker = silent, check: Callable[[Model], None] | None = None
) -> Reopened:
    """Return the run's model and pairs; `check` sees the model before it is run.

    Raises ConfigError when model or pairs of the settings are no longer those that the folder belongs to.
    """
    model = load_model(config, config.model)
    if provenance_of(folder).get("fingerprint") != model.fingerprint:
        raise ConfigError(
            f"run folder {folder} belongs to another model than the {config.model} that is there now; run it again"
        )
    if check:
        check(model)
    pairs = pairs_of(config)
    if "caption" in config.make:
        pairs = with_captions(
            Runner(model, Limits(answers=config.batch_size), folder / "answers", track), pairs
        )
    check_pairs(folder, pairs)
    return Reopened(folder, config, model, pairs)


def study_again(folder: Path, track: Tracker = silent) -> Calibrated:
    """Return the study of a run folder, under whose conditions more can be asked; ConfigError as above."""
    reopened = reopen(folder, settings_of_run(folder), track)
    return calibrate(reopened.measure_model(track), folder, track)
