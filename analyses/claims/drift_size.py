"""The size of the drift of each arm at each layer, and of its part along the refusal direction."""

import pandas as pd
import torch
from torch import Tensor

from regap.analyses.runs.measured import Measured
from regap.analyses.runs.records import Record
from regap.geometry.drift import Drift
from regap.geometry.estimates import Estimate, Resamples, estimates, mean_draws
from regap.geometry.states.activations import Activations


def drift_record(seen: Measured) -> Record:
    """Return the table `drift`: norms on test pairs with intervals, and the parts of the fitted drift."""
    rows = [
        {"model": seen.model.name, "arm": arm, "layer": layer, "measure": measure, **vars(found)}
        for arm, drift in seen.drifts.items()
        for measure, column in _drift_estimates(seen, arm, drift).items()
        for layer, found in zip(drift.layers, column, strict=True)
    ]
    return Record("drift", pd.DataFrame(rows))


def drift_norm_draws(seen: Measured, arm: str) -> tuple[Tensor, Tensor]:
    """Return |D| of an arm and |mean harmful text - mean harmless text| on test pairs, by resample and layer."""
    text, other = seen.states["text"].test.aligned_with(seen.states[arm].test)
    weights = Resamples.of(text.clusters, text.harmful, seen.config.resamples, seen.config.seed).weights
    return _balanced_norm(other, text, weights), _class_norm(text, weights)


def _drift_estimates(seen: Measured, arm: str, drift: Drift) -> dict[str, list[Estimate]]:
    n = len(seen.states[arm].test)
    norm, class_norm = drift_norm_draws(seen, arm)
    found = {"norm": norm, "class_norm": class_norm, "relative_norm": norm / class_norm}
    fitted = {
        "norm_along": drift.along(seen.refusal).vectors.norm(dim=-1),
        "norm_across": drift.across(seen.refusal).vectors.norm(dim=-1),
        "cosine": torch.cosine_similarity(drift.vectors, seen.refusal.vectors, dim=-1),
    }
    fixed = {
        name: [Estimate(float(v), float("nan"), float("nan"), n) for v in column]
        for name, column in fitted.items()
    }
    return {name: estimates(column, n) for name, column in found.items()} | fixed


def _balanced_norm(image: Activations, text: Activations, weights: Tensor) -> Tensor:
    columns = []
    for layer in text.layers:
        difference = image.at(layer).double() - text.at(layer).double()
        means = [mean_draws(difference[mask], weights[:, mask]) for mask in (text.harmful, ~text.harmful)]
        columns.append(((means[0] + means[1]) / 2).norm(dim=-1))
    return torch.stack(columns, 1)


def _class_norm(text: Activations, weights: Tensor) -> Tensor:
    columns = []
    for layer in text.layers:
        states = text.at(layer).double()
        means = [mean_draws(states[mask], weights[:, mask]) for mask in (text.harmful, ~text.harmful)]
        columns.append((means[0] - means[1]).norm(dim=-1))
    return torch.stack(columns, 1)
