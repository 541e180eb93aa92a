"""A run that only looks: residual streams, directions, drift and separability, no answers."""

from pathlib import Path

import pandas as pd

from regap.analyses.runs.pairs import pairs_of
from regap.analyses.claims.collapse import probes
from regap.analyses.runs.config import RunConfig
from regap.analyses.claims.coordinates import coordinates_record
from regap.analyses.claims.drift_size import drift_record
from regap.analyses.runs.measured import chosen_arms, measure_model
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import load_model, open_folder
from regap.analyses.runs.folder import RunFolder, check_out
from regap.analyses.runs.progress import Tracker, silent
from regap.geometry.separability import separability


def capture_only(config: RunConfig, track: Tracker = silent) -> RunFolder:
    """Return the run folder with activations, directions, and the tables that need no generation."""
    check_out(Path(config.out), None)
    pairs = pairs_of(config).require_both_labels()
    chosen_arms(pairs, config)
    model = load_model(config, config.model)
    folder, pairs = open_folder(config, model, pairs, track)
    seen = measure_model(model, pairs, config, folder.path, track)
    folder.write_directions(seen.refusal, dict(seen.drifts), model)
    tables = [
        separability(
            seen.states, direction, model=model.name, name=name, resamples=config.resamples, seed=config.seed
        )
        for name, direction in probes(seen).items()
    ]
    records = (Record("separability", pd.concat(tables)), drift_record(seen))
    for record in (*records, coordinates_record(seen, {"baseline": seen.states})):
        record.save(folder.path)
    return folder
