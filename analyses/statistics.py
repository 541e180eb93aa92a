"""Tests of whether two conditions differ on the same prompts, and of what a null result can rule out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from scipy.stats import beta, binomtest, norm, t
from torch import Tensor

from regap.geometry.estimates import Estimate, Resamples, estimate, mean_draws, proportion

SIGNIFICANCE = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """A share under two conditions on the same prompts, after minus before."""

    change: Estimate
    """Bootstrapped in pairs, clustered."""
    p_value: float
    """McNemar's exact test, two-sided: the chance of so uneven a change if it were even."""
    detectable: float
    """The smallest change that would have been found with 80 % power; infinite where none could have been."""

    @property
    def is_null(self) -> bool:
        """True where no difference is found at 5 %."""
        return not self.p_value < SIGNIFICANCE

    def __str__(self) -> str:
        told = f"{self.change}, p = {self.p_value:.2g}"
        if not self.is_null:
            return told
        if math.isinf(self.detectable):
            return f"{told}; with so few prompts no change at all could have been found"
        return f"{told}; a change below {self.detectable:.2g} would not have been found reliably"


def difference(
    before: Bool[Tensor, " prompt"],
    after: Bool[Tensor, " prompt"],
    clusters: Sequence[str],
    seed: int = 0,
) -> Difference:
    """Return how a share changes on the same prompts: estimate, exact test and what could have been found.

    Raises ValueError for no prompts.
    """
    return Difference(
        paired_difference(before, after, clusters, seed),
        mcnemar(before, after),
        smallest_detectable(before, after, clusters),
    )


def mcnemar(before: Bool[Tensor, " prompt"], after: Bool[Tensor, " prompt"]) -> float:
    """Return the exact two-sided p-value that as many prompts change one way as the other; 1 where none changes.

    Prompts count as independent: where some share a cluster, go by the interval of `paired_difference`.
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

    Where all resamples agree, the interval is the exact binomial one for a change seen in none of the clusters.
    """
    _require_prompts(before)
    changes = after.double() - before.double()
    weights = Resamples.of(clusters, torch.ones_like(before), seed=seed).weights
    found = estimate(mean_draws(changes[:, None], weights)[:, 0], len(before))
    if found.low < found.high:
        return found
    unseen = proportion(torch.zeros_like(before), clusters, seed).high
    return Estimate(found.value, max(-1.0, found.value - unseen), min(1.0, found.value + unseen), found.n)


def equivalence(
    before: Bool[Tensor, " prompt"],
    after: Bool[Tensor, " prompt"],
    clusters: Sequence[str],
    margin: float = 0.05,
) -> float:
    """Return the p-value that the share has changed by `margin` or more: below 0.05, the two are equivalent.

    Two one-sided t-tests (TOST) with a standard error by cluster; equal to the paired TOST where each prompt is its
    own cluster. Where nothing changes there is no standard error: the p-value is then the chance, (1 - margin) to
    the number of clusters, of seeing no change if `margin` of them changed.
    """
    _require_prompts(before)
    if not 0 < margin < 1:
        raise ValueError(f"margin is {margin}; give the largest change that does not matter, between 0 and 1")
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
    """Return the change of a share that a study like this one would find with this power at 5 %, two-sided.

    (z_0.975 + z_power) standard errors, by cluster; but never less than the share of clusters that has to change
    the same way for McNemar's test to see it, which is all that is known where nothing changed. Infinite where not
    even a change of every cluster would be found.
    """
    _require_prompts(before)
    found = _clustered(before, after, clusters)
    needed = 1 + math.ceil(math.log2(1 / SIGNIFICANCE))  # the fewest one-way changes with 2 * 0.5^k <= 5 %
    if found.clusters < needed:
        return math.inf
    by_error = (norm.ppf(1 - SIGNIFICANCE / 2) + norm.ppf(power)) * found.error
    return float(max(by_error, beta.ppf(power, needed, found.clusters - needed + 1)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return the p-values of one family of tests, adjusted by Holm's step-down method, under the same names.

    Rejecting those below 5 % makes one false rejection or more in at most 5 % of such families.
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
    """Return the mean change with its standard error by cluster: s/√n where each prompt is a cluster."""
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
        raise ValueError("a difference over no prompts is not defined; check the filters before it")
