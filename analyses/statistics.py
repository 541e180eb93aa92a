"""Tests whether two conditions differ on the same prompts, and what a null result can rule out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from scipy.stats import beta, binomtest, norm, t
from torch import Tensor

from regap.geometry.estimates import Estimate, Resamples, estimate, mean_draws, widened_if_constant

SIGNIFICANCE = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """The change of a share between two conditions on the same prompts, after minus before."""

    change: Estimate
    """Paired bootstrap, clustered."""
    p_value: float
    """McNemar's exact test, two-sided."""
    detectable: float
    """The smallest change that would have been found with 80 % power; infinite if no change could have been."""

    @property
    def is_null(self) -> bool:
        """True if no difference is found at 5 %."""
        return not self.p_value < SIGNIFICANCE

    def __str__(self) -> str:
        told = f"{self.change}, p = {self.p_value:.2g}"
        if not self.is_null:
            return told
        if math.isinf(self.detectable):
            return f"{told}; with so few prompts no change could have been found"
        return f"{told}; a change below {self.detectable:.2g} would not have been found reliably"


def difference(
    before: Bool[Tensor, " prompt"],
    after: Bool[Tensor, " prompt"],
    clusters: Sequence[str],
    seed: int = 0,
) -> Difference:
    """Return the change of a share on the same prompts: estimate, exact test and smallest detectable change.

    Raises ValueError if there are no prompts.
    """
    return Difference(
        paired_difference(before, after, clusters, seed),
        mcnemar(before, after),
        smallest_detectable(before, after, clusters),
    )


def mcnemar(before: Bool[Tensor, " prompt"], after: Bool[Tensor, " prompt"]) -> float:
    """Return the exact two-sided p-value that equally many prompts change in either direction; 1 if none changes.

    Prompts count as independent; if some share a cluster, use the interval of `paired_difference`.
    """
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def paired_difference(
    before: Bool[Tensor, " prompt"],
    after: Bool[Tensor, " prompt"],
    clusters: Sequence[str],
    seed: int = 0,
) -> Estimate:
    """Return the share after minus the share before, resampled by cluster.

    If all resamples agree, the interval is the exact binomial one for a change that no cluster shows. Below two
    clusters there is none (NaN).
    """
    _require_prompts(before)
    changes = after.double() - before.double()
    weights = Resamples.of(clusters, torch.ones_like(before), seed=seed).weights
    found = estimate(mean_draws(changes[:, None], weights)[:, 0], len(before))
    found = widened_if_constant(found, len(set(clusters)))
    low, high = np.clip([found.low, found.high], -1.0, 1.0).tolist()  # NaN stays NaN
    return Estimate(found.value, low, high, found.n)


def equivalence(
    before: Bool[Tensor, " prompt"],
    after: Bool[Tensor, " prompt"],
    clusters: Sequence[str],
    margin: float = 0.05,
) -> float:
    """Return the p-value that the share changes by `margin` or more; below 0.05 the two are equivalent.

    Two one-sided t-tests (TOST) with a clustered standard error; equal to the paired TOST if each prompt is its own
    cluster. If nothing changes, the standard error is 0; the p-value is then (1 - margin) to the power of the number
    of clusters, the probability of no change if a share `margin` of them changed.
    """
    _require_prompts(before)
    if not 0 < margin < 1:
        raise ValueError(f"margin is {margin}; give the smallest change that matters, between 0 and 1")
    found = _clustered(before, after, clusters)
    if found.error == 0 or found.clusters == 1:
        return (1 - margin) ** found.clusters if found.mean == 0 else 1.0
    below = t.sf((found.mean + margin) / found.error, found.clusters - 1)
    above = t.cdf((found.mean - margin) / found.error, found.clusters - 1)
    return float(max(below, above))


def smallest_detectable(
    before: Bool[Tensor, " prompt"],
    after: Bool[Tensor, " prompt"],
    clusters: Sequence[str],
    power: float = POWER,
) -> float:
    """Return the smallest change of a share that such a study would find with this power at 5 %, two-sided.

    It is (z_0.975 + z_power) clustered standard errors, and at least the share of clusters that must change in one
    direction for McNemar's test to be significant. Infinite if even a change of every cluster would not be found.
    """
    _require_prompts(before)
    found = _clustered(before, after, clusters)
    needed = 1 + math.ceil(math.log2(1 / SIGNIFICANCE))  # the fewest one-way changes with 2 * 0.5^k <= 5 %
    if found.clusters < needed:
        return math.inf
    by_error = (norm.ppf(1 - SIGNIFICANCE / 2) + norm.ppf(power)) * found.error
    return float(max(by_error, beta.ppf(power, needed, found.clusters - needed + 1)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return the p-values of one family of tests, adjusted by Holm's step-down method, with the same names.

    Rejecting those below 5 % gives a false rejection in at most 5 % of such families.
    """
    wrong = {name: p for name, p in p_values.items() if not 0 <= p <= 1}
    if wrong:
        raise ValueError(f"p-values are {wrong}; give numbers from 0 to 1")
    found, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        found[name] = largest
    return {name: found[name] for name in p_values}


@dataclass(frozen=True)
class _Clustered:
    mean: float
    error: float
    clusters: int


def _clustered(before: Tensor, after: Tensor, clusters: Sequence[str]) -> _Clustered:
    """Return the mean change with its clustered standard error; s/√n if each prompt is its own cluster."""
    changes = (after.double() - before.double()).numpy()
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    mean, count = float(changes.mean()), len(names)
    if count == 1:
        return _Clustered(mean, math.nan, 1)  # one draw has no spread
    residuals = np.bincount(codes, weights=changes - mean, minlength=count)
    variance = count / (count - 1) * float((residuals**2).sum())
    return _Clustered(mean, math.sqrt(variance) / len(changes), count)


def _require_prompts(before: Tensor) -> None:
    if not len(before):
        raise ValueError("a difference needs at least one prompt; check the filters before it")
