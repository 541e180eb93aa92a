"""Estimates with confidence intervals from a bootstrap that resamples clusters.

Where resamples cannot vary there is no interval: its bounds are NaN. This is so below two clusters a stratum. A share
of 0 or 1 does not vary either, but has an exact bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import beta, norm
from torch import Tensor

RESAMPLES = 1000
LEVEL = 0.95
ROUNDING = 1e-12
"""Resamples that differ by less, relative to the value, are equal."""


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval, whose bounds are NaN if there is none; n is the number of prompts."""

    value: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError("an estimate needs at least one prompt; check the filters before it")
        if np.isfinite([self.low, self.high]).all() and self.low > self.high:
            raise ValueError(f"interval [{self.low}, {self.high}] is upside down")

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "not defined"
        value, low, high = (
            f"{0.0 if abs(n) < ROUNDING else n:.3g}" for n in (self.value, self.low, self.high)
        )
        if np.isnan(self.low) and np.isnan(self.high):
            return f"{value} [no interval]"
        return f"{value} [{low}, {high}]"


@dataclass(frozen=True, eq=False)
class Resamples:
    """How often each prompt counts in each resample; row 0 is the sample itself, where each counts once."""

    weights: Float[Tensor, "resample prompt"] = field(repr=False)
    """Float64; the prompts of one cluster always have one weight."""
    clusters: int
    """How many clusters there are."""

    @classmethod
    def of(
        cls,
        clusters: Sequence[str] | np.ndarray,
        harmful: Bool[Tensor, " prompt"],
        count: int = RESAMPLES,
        seed: int = 0,
    ) -> "Resamples":
        """Return `count` resamples of clusters with replacement, stratified by the labels in a cluster.

        Stratifying keeps both labels in every resample, so that none has to be discarded. A cluster that is alone in
        its stratum is drawn with clusters of both labels, or if it has both itself, with others. Where there are none,
        it cannot be resampled, and the weights of all resamples are NaN.
        """
        names, codes = np.unique(np.asarray(clusters), return_inverse=True)
        labels = np.asarray(harmful)
        has_harmful = np.bincount(codes, weights=labels, minlength=len(names)) > 0
        has_harmless = np.bincount(codes, weights=~labels, minlength=len(names)) > 0
        stratum = _joined(has_harmful + 2 * has_harmless)
        generator = np.random.default_rng(seed)
        counts = np.ones((count + 1, len(names)))
        for kind in np.unique(stratum):
            members = np.flatnonzero(stratum == kind)
            if len(members) < 2:
                counts[1:] = np.nan
                break
            share = np.full(len(members), 1 / len(members))
            counts[1:, members] = generator.multinomial(len(members), share, size=count)
        return cls(torch.from_numpy(counts[:, codes]), len(names))

    def take(self, kept: Bool[Tensor, " prompt"]) -> "Resamples":
        """Return the same resamples for the prompts that are True."""
        return Resamples(self.weights[:, kept], self.clusters)


def _joined(stratum: np.ndarray) -> np.ndarray:
    """Return the strata (1 harmful, 2 harmless, 3 both) with a lone cluster joined to others that have both labels."""
    sizes = {kind: int((stratum == kind).sum()) for kind in (1, 2, 3)}
    joined = stratum.copy()
    if sizes[3] > 1:
        for kind in (1, 2):
            joined[(stratum == kind) & (sizes[kind] == 1)] = 3
    elif sizes[3] == 1 and min(sizes[1], sizes[2]) > 1:
        joined[stratum == 3] = 1 if sizes[1] > sizes[2] else 2
    return joined


def estimate(draws: Float[Tensor, " resample"], n: int, level: float = LEVEL) -> Estimate:
    """Return row 0 with the bias-corrected percentile interval of the other rows.

    Efron's correction keeps the interval around the value for statistics that are biased in resamples, such as d' and
    norms. We use this interval everywhere. The bounds are NaN if no resample is finite, and if they would be equal:
    what hardly varies in resamples is not known exactly. See `exact_if_constant` for shares, `widened_if_constant` for
    changes.
    """
    value, finite = float(draws[0]), draws[1:][torch.isfinite(draws[1:])].double()
    if not len(finite) or not np.isfinite(value):
        return Estimate(value, float("nan"), float("nan"), n)
    # Shares are equal up to rounding only, and how many resamples equal the value must not hang on it.
    offset = finite - value
    equal = offset.abs() <= ROUNDING * max(1.0, abs(value))
    below = float(((offset < 0) & ~equal).double().mean() + equal.double().mean() / 2)
    tail = norm.ppf((1 - level) / 2)
    bias = float(np.clip(norm.ppf(below), tail, -tail))
    shares = torch.tensor(norm.cdf([2 * bias + tail, 2 * bias - tail]), dtype=torch.float64)
    low, high = torch.quantile(finite, shares).tolist()
    low, high = min(low, value), max(high, value)
    if high - low <= ROUNDING * max(1.0, abs(value)):
        return Estimate(value, float("nan"), float("nan"), n)
    return Estimate(value, low, high, n)


def estimates(draws: Float[Tensor, "resample column"], n: int) -> list[Estimate]:
    """Return one estimate for each column."""
    return [estimate(column, n) for column in draws.T]


def mean_draws(
    values: Float[Tensor, "prompt column"], weights: Float[Tensor, "resample prompt"]
) -> Float[Tensor, "resample column"]:
    """Return the weighted mean of each column in each resample; NaN if no prompt has weight."""
    return (weights @ values.double()) / weights.sum(1, keepdim=True)


def proportion(
    hits: Bool[Tensor, " prompt"], clusters: Sequence[str] | np.ndarray, seed: int = 0
) -> Estimate:
    """Return a share with its clustered interval; without one (NaN) below two clusters.

    Where resamples cannot vary, as at exactly 0 or 1, the bounds are the exact binomial ones (Clopper-Pearson) with the
    number of clusters as trials. Raises ValueError if there are no prompts.
    """
    if not len(hits):
        raise ValueError("a share of no prompts is not defined; check the filters before it")
    resamples = Resamples.of(clusters, torch.ones_like(hits), seed=seed)
    found = estimate(mean_draws(hits[:, None].double(), resamples.weights)[:, 0], len(hits))
    return exact_if_constant(found, resamples.clusters)


def exact_if_constant(found: Estimate, trials: int, level: float = LEVEL) -> Estimate:
    """Return the estimate of a share with exact binomial bounds (Clopper-Pearson) if its resamples did not vary.

    trials: the number of independent clusters; below two, the estimate stays without an interval.
    """
    if trials < 2 or not np.isfinite(found.value) or np.isfinite([found.low, found.high]).any():
        return found
    tail, hits = (1 - level) / 2, found.value * trials
    low = float(beta.ppf(tail, hits, trials - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return Estimate(found.value, min(low, found.value), max(high, found.value), found.n)


def widened_if_constant(found: Estimate, trials: int, span: float = 1.0, level: float = LEVEL) -> Estimate:
    """Return the estimate of a change with bounds if its resamples did not vary: what no cluster showed may exist.

    The bounds are `span`, the range of the change of one prompt, times the exact binomial bound of a share that none of
    `trials` independent clusters shows. Below two clusters the estimate stays without an interval.
    """
    if trials < 2 or not np.isfinite(found.value) or np.isfinite([found.low, found.high]).any():
        return found
    unseen = span * float(beta.ppf((1 + level) / 2, 1, trials))
    return Estimate(found.value, found.value - unseen, found.value + unseen, found.n)
