"""Conditional refusal separability: how well a direction separates harmful from harmless prompts in an arm."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.geometry.directions import Direction
from regap.geometry.estimates import RESAMPLES, Estimate, Resamples, estimates, exact_if_constant, mean_draws
from regap.geometry.states.activations import Activations, by_arm

Coordinates = Float[Tensor, "prompt layer"]
Harmful = Bool[Tensor, " prompt"]
Weights = Float[Tensor, "resample prompt"]
Draws = Float[Tensor, "resample layer"]
Thresholds = Float[Tensor, " layer"]

MEASURES = ("gap", "d_prime", "auroc", "usable")
AT_ONCE = 64
"""Resamples computed together; limits the memory for many prompts."""


def gap(z: Coordinates, harmful: Harmful, weights: Weights) -> Draws:
    """Return mean harmful minus mean harmless, in units of the residual stream; unbounded, 0 is no separation."""
    return mean_draws(z[harmful], weights[:, harmful]) - mean_draws(z[~harmful], weights[:, ~harmful])


def d_prime(z: Coordinates, harmful: Harmful, weights: Weights) -> Draws:
    """Return the gap over the pooled standard deviation (sqrt of the mean of both variances); invariant to shifts."""
    variance = _variance(z[harmful], weights[:, harmful]) + _variance(z[~harmful], weights[:, ~harmful])
    return gap(z, harmful, weights) / (variance / 2).sqrt()


def auroc(z: Coordinates, harmful: Harmful, weights: Weights) -> Draws:
    """Return the probability that a harmful prompt lies above a harmless one, ties counted half; in [0, 1]."""
    return torch.stack([_auroc(column, harmful, weights) for column in z.T], 1)


def usable(z: Coordinates, harmful: Harmful, weights: Weights, thresholds: Thresholds) -> Draws:
    """Return balanced accuracy at thresholds fitted on text; in [0, 1], 0.5 is chance; shifts change it."""
    above = (z > thresholds).double()
    hits = mean_draws(above[harmful], weights[:, harmful])
    return (hits + 1 - mean_draws(above[~harmful], weights[:, ~harmful])) / 2


def draws(states: Activations, direction: Direction, resamples: Resamples) -> dict[str, Draws]:
    """Return each measure in each resample at each layer; row 0 is the sample itself."""
    z, harmful = direction.coordinates(states), states.harmful
    require_both_labels(harmful, states.arm)
    some = [_draws(z, harmful, weights, direction) for weights in resamples.weights.split(AT_ONCE)]
    return {name: torch.cat([each[name] for each in some]) for name in some[0]}


def _draws(z: Coordinates, harmful: Harmful, weights: Weights, direction: Direction) -> dict[str, Draws]:
    plain: dict[str, Callable[[Coordinates, Harmful, Weights], Draws]]
    plain = {"gap": gap, "d_prime": d_prime, "auroc": auroc}
    found = {name: measure(z, harmful, weights) for name, measure in plain.items()}
    return found | {"usable": usable(z, harmful, weights, direction.thresholds)}


def separability(
    states: Mapping[str, Activations] | Iterable[Activations] | Activations,
    direction: Direction,
    *,
    model: str = "model",
    condition: str = "baseline",
    name: str = "refusal",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return one row per arm, layer and measure: value, low, high, n, on the test split if there is one.

    `model`, `condition` (the edits) and `name` (of the direction) fill the columns model, condition and direction.
    Intervals are percentiles of a bootstrap clustered by pair, exact where AUROC or usable separation is 0 or 1, and
    NaN below two clusters a label. Raises PairError if an arm lacks a label.
    """
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; give at least 1")
    tables = [_arm_table(_reported(arm), direction, resamples, seed) for arm in by_arm(states)]
    return pd.concat(tables, ignore_index=True).assign(model=model, condition=condition, direction=name)


def require_both_labels(harmful: Harmful, arm: str) -> None:
    """Raise ValueError unless there are both harmful and harmless prompts."""
    for label, present in (("harmful", harmful.any()), ("harmless", (~harmful).any())):
        if not bool(present):
            raise ValueError(
                f"arm {arm} has no {label} prompt; separability needs both labels: add {label} pairs"
            )


def _reported(states: Activations) -> Activations:
    return states.test if any(row.split == "test" for row in states.rows) else states


def _arm_table(states: Activations, direction: Direction, count: int, seed: int) -> pd.DataFrame:
    resamples = Resamples.of(states.clusters, states.harmful, count, seed)
    rows = [
        {"arm": states.arm, "layer": layer, "measure": measure, **vars(bounded(measure, found, states))}
        for measure, values in draws(states, direction, resamples).items()
        for layer, found in zip(states.layers, estimates(values, len(states)), strict=True)
    ]
    return pd.DataFrame(rows)


def bounded(measure: str, found: Estimate, states: Activations) -> Estimate:
    """Return an estimate of AUROC or usable separation with exact bounds where it is 0 or 1; others as they are.

    The bound is the binomial one with as many trials as `rarer_clusters`.
    """
    if measure not in ("auroc", "usable") or found.value not in (0.0, 1.0):
        return found
    return exact_if_constant(found, rarer_clusters(states.clusters, states.harmful))


def rarer_clusters(clusters: Sequence[str] | np.ndarray, harmful: Harmful) -> int:
    """Return the number of clusters of the label that has fewer, the trials of an AUROC of 0 or 1.

    All of several independent pairs of a harmful and a harmless cluster are then in order, or none; there are as many
    such pairs as the rarer label has clusters.
    """
    named = np.asarray(clusters)
    return min(len(set(named[of_label])) for of_label in (harmful.numpy(), ~harmful.numpy()))


def _variance(z: Coordinates, weights: Weights) -> Draws:
    z = z - z.mean(0)  # a large common offset would lose precision below
    mean = mean_draws(z, weights)
    count = weights.sum(1, keepdim=True)
    return ((mean_draws(z.square(), weights) - mean.square()) * count / (count - 1)).clamp_min(0)


def _auroc(z: Float[Tensor, " prompt"], harmful: Harmful, weights: Weights) -> Float[Tensor, " resample"]:
    levels, place = torch.unique(z, return_inverse=True)
    harmless = torch.zeros(len(weights), len(levels), dtype=weights.dtype)
    harmless.index_add_(1, place[~harmful], weights[:, ~harmful])
    below = harmless.cumsum(1) - harmless / 2
    wins = (weights[:, harmful] * below[:, place[harmful]]).sum(1)
    return wins / (weights[:, harmful].sum(1) * weights[:, ~harmful].sum(1))
