"""Layer x strength x part: what every dose of the drift does at every layer, read off the last token.

h <- h - alpha * v at the last prompt token of one block, in the image arm; v the drift D, its parts along and across
the refusal direction, and controls as long. The numbers are those of running every prompt again for each cell.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch

from regap.analyses.ablation.ablate import observed_in
from regap.analyses.claims.drift_causes import vectors_of
from regap.analyses.runs.calibrated import are_harmful, are_refusals, find_refusal_tokens
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.folder import RunFolder
from regap.analyses.runs.measured import Measured
from regap.analyses.runs.progress import Tracker, silent
from regap.analyses.runs.records import Record
from regap.analyses.tables.columns import VECTOR
from regap.errors import ConfigError
from regap.geometry.estimates import Resamples, estimates, mean_draws, proportion
from regap.geometry.models.loading import Model
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.site import Site
from regap.interventions.sweep import sweep

PARTS = ("D", "D_along", "D_across", "random")


def layer_sweep(
    config: RunConfig,
    names: Sequence[str] = (),
    layers: Sequence[int] = (),
    *,
    again: bool = False,
    track: Tracker = silent,
) -> RunFolder:
    """Return the run folder with the table `sweep`; of D, its parts and a random vector at all layers by default."""
    for name in names:
        if name not in VECTOR.values:
            raise ConfigError(f"vector is {name!r}; choose from {', '.join(VECTOR.values)}")

    def check(model: Model) -> None:
        for layer in layers:
            model.hook_name(layer)

    seen, folder = observed_in(config, check, again=again, track=track)
    tokens = find_refusal_tokens(seen, folder.path, track)
    run(seen, tokens, tuple(dict.fromkeys(names)) or PARTS, layers, track).save(folder.path)
    return folder


def run(
    seen: Measured,
    tokens: frozenset[int],
    names: Sequence[str],
    layers: Sequence[int],
    track: Tracker = silent,
) -> Record:
    """Return the table `sweep`: z at the last block and refusals by first token, harmful and harmless apart."""
    of = vectors_of(seen)
    doses = [
        {"vector": name, "layer": layer, "alpha": alpha}
        for name in names
        for layer in layers or range(seen.model.layers)
        for alpha in (0.0, *seen.config.strengths)
    ]
    edits = [[fixed_correction(of[one["vector"]], Site((one["layer"],)), one["alpha"])] for one in doses]
    asked = seen.pairs.test.where(arm=seen.image_arm)
    found = sweep(
        seen.runner.telling(track(f"{len(doses)} doses, {seen.image_arm}", len(asked))),
        asked,
        seen.image_arm,
        edits,
        seen.refusal,
        [seen.model.layers - 1],
    )
    refused, z = are_refusals(found.first_tokens, tokens), found.coordinates[:, :, 0]
    harmful, clusters = are_harmful(asked), [pair.cluster for pair in asked]
    rows: list[dict[str, Any]] = []
    for label, mask in (("harmful", harmful), ("harmless", ~harmful)):
        own = [cluster for cluster, kept in zip(clusters, mask.tolist(), strict=True) if kept]
        told = _rows(seen, doses, z[:, mask], refused[:, mask], own)
        rows += [{**row, "label": label} for row in told]
    return Record("sweep", pd.DataFrame(rows).assign(model=seen.model.name, arm=seen.image_arm))


def _rows(
    seen: Measured,
    doses: Sequence[dict[str, Any]],
    z: torch.Tensor,
    refused: torch.Tensor,
    clusters: Sequence[str],
) -> Iterator[dict[str, Any]]:
    one, seed = torch.ones(len(clusters), dtype=torch.bool), seen.config.seed
    weights = Resamples.of(clusters, one, seen.config.resamples, seed).weights
    coordinates = estimates(mean_draws(z.T, weights), len(clusters))
    for dose, coordinate, refusals in zip(doses, coordinates, refused, strict=True):
        yield {**dose, "measure": "z", **vars(coordinate)}
        yield {**dose, "measure": "first_token", **vars(proportion(refusals, clusters, seed))}
