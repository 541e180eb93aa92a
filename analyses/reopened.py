"""A run folder taken up again: its settings, its model and what was observed, nothing of it computed twice."""

from collections.abc import Callable
from pathlib import Path

from regap.analyses.asked_pairs import pairs_of
from regap.analyses.captions import with_captions
from regap.analyses.config import ConfigError, RunConfig, stored_config
from regap.analyses.observed import Observed, observe
from regap.analyses.run import load_model
from regap.analyses.run_folder import check_pairs, provenance_of
from regap.analyses.tracking import Tracker, silent
from regap.geometry.models import Model


def settings_of_run(folder: Path) -> RunConfig:
    """Return the settings of a run, its folder the one named; raises ConfigError if it is no run folder."""
    missing = [name for name in ("config.toml", "provenance.json") if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"run folder {folder} has no {' and no '.join(missing)}; name a folder that `regap run` made"
        )
    return stored_config(folder / "config.toml", out=str(folder))


def observe_again(
    folder: Path, config: RunConfig, check: Callable[[Model], None], track: Tracker = silent
) -> Observed:
    """Return model and pairs of a run as they were observed in it; `check` sees the model before it is run.

    Raises ConfigError when model or pairs of the run's settings is no longer the one that the folder belongs to.
    """
    model = load_model(config, config.model)
    if provenance_of(folder).get("fingerprint") != model.fingerprint:
        raise ConfigError(
            f"run folder {folder} belongs to another {config.model} than the one there is now; run it again"
        )
    check(model)
    pairs = pairs_of(config)
    if "caption" in config.make:
        pairs = with_captions(
            model, pairs, batch_size=config.batch_size, store=folder / "answers", track=track
        )
    check_pairs(folder, pairs)
    return observe(model, pairs, config, folder, track)
