"""The effect of the drift and its parts at every layer and strength, read from the last token.

h <- h - alpha * v at the last prompt token of one block, in the image arm; v the drift D, its parts along and across
the refusal direction, and controls of the same length. Results equal those of a full pass for each cell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import pandas as pd
import torch

from regap.analyses.claims.drift_causes import vectors_of
from regap.analyses.runs.config import RunConfig, changed_config
from regap.analyses.runs.measured import Measured, are_harmful, are_refusals, measure_model
from regap.analyses.runs.questions import Question, save_answer
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import Run
from regap.analyses.tables.columns import VECTOR
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pairs
from regap.geometry.estimates import Resamples, estimates, mean_draws, proportion
from regap.geometry.forward.runner import Runner
from regap.geometry.models.loading import Model
from regap.geometry.one_or_several import as_layers, as_names
from regap.geometry.sole_writer import sole_writer
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.site import Site
from regap.interventions.sweep import sweep

PARTS = ("D", "D_along", "D_across", "random")


def sweep_run(
    run: Run, names: Sequence[str] = (), layers: Sequence[int] = (), strengths: str | None = None
) -> Question:
    """Return the answer of a run to these doses: the table `sweep`, stored in the run folder.

    By default D, its parts and a random vector at all layers. strengths: as text, such as 0.5,1,2; default: the run's.
    """
    own = changed_config(run.config, strengths=strengths)
    chosen = tuple(dict.fromkeys(names)) or PARTS
    settings = {"vectors": chosen, "layers": tuple(layers), "strengths": own.strengths}
    with sole_writer(run.folder):
        record = sweep_record(replace(run.measured, config=own), chosen, layers)
        return save_answer(run.folder, "sweep", settings, [record])


def sweep_layers(
    model: Model | Runner,
    pairs: Pairs,
    *,
    vectors: Sequence[str] | str = PARTS,
    layers: Sequence[int] | int | None = None,
    strengths: Sequence[float] | float = (0.5, 1.0, 1.5, 2.0, 3.0),
    image_arm: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the effect of each vector at every layer and strength, by passes of the last prompt token.

    vectors: D, D_along, D_across, random, shuffled or refusal. strengths: multiples of the vector to remove, including
    1.0. layers: 0-based, all by default. Each of these may be one value or several. Columns are those of the table
    `sweep`. Nothing is written unless the model is a runner with a store.
    """
    runner = Runner.of(model)
    names = as_names(vectors, "vectors")
    chosen = () if layers is None else as_layers(layers)
    check_doses(names, chosen, runner.model)
    doses = (strengths,) if isinstance(strengths, Real) else strengths
    config = changed_config(RunConfig.model_validate({}), image_arm=image_arm, seed=seed, strengths=doses)
    return sweep_record(measure_model(runner, Pairs.of(pairs), config), names, chosen).table


def check_doses(names: Sequence[str], layers: Sequence[int] = (), model: Model | None = None) -> None:
    """Raise ConfigError for an unknown vector, ModelError for a layer that the model does not have."""
    for name in names:
        if name not in VECTOR.values:
            raise ConfigError(f"vector is {name!r}; choose from {', '.join(VECTOR.values)}")
    for layer in layers:
        if model:
            model.hook_name(layer)


def sweep_record(seen: Measured, names: Sequence[str], layers: Sequence[int]) -> Record:
    """Return the table `sweep`: z at the last block and refusals by first token, for each label."""
    of = vectors_of(seen)
    doses = [
        {"vector": name, "layer": layer, "alpha": alpha}
        for name in names
        for layer in layers or range(seen.model.layers)
        for alpha in (0.0, *seen.config.strengths)
    ]
    edits = [[fixed_correction(of[one["vector"]], Site((one["layer"],)), one["alpha"])] for one in doses]
    asked = seen.pairs.test.where(arm=seen.image_arm)
    runner = seen.runner.named(f"{len(doses)} doses, {seen.image_arm}")
    found = sweep(runner, asked, seen.image_arm, edits, seen.refusal, [seen.model.layers - 1])
    refused, z = are_refusals(found.first_tokens, seen.refusal_tokens), found.coordinates[:, :, 0]
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
