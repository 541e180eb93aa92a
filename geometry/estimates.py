"""Estimates with confidence intervals from a bootstrap that resamples clusters."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import beta, norm
from torch import Tensor

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval; n is the number of prompts."""

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
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


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

        Stratifying keeps both labels in every resample, so that none has to be discarded.
        """
        names, codes = np.unique(np.asarray(clusters), return_inverse=True)
        labels = np.asarray(harmful)
        has_harmful = np.bincount(codes, weights=labels, minlength=len(names)) > 0
        has_harmless = np.bincount(codes, weights=~labels, minlength=len(names)) > 0
        stratum = has_harmful + 2 * has_harmless
        generator = np.random.default_rng(seed)
        counts = np.ones((count + 1, len(names)))
        for kind in np.unique(stratum):
            members = np.flatnonzero(stratum == kind)
            share = np.full(len(members), 1 / len(members))
            counts[1:, members] = generator.multinomial(len(members), share, size=count)
        return cls(torch.from_numpy(counts[:, codes]), len(names))

    def take(self, kept: Bool[Tensor, " prompt"]) -> "Resamples":
        """Return the same resamples for the prompts that are True."""
        return Resamples(self.weights[:, kept], self.clusters)


def estimate(draws: Float[Tensor, " resample"], n: int, level: float = LEVEL) -> Estimate:
    """Return row 0 with the bias-corrected percentile interval of the other rows.

    Efron's correction keeps the interval around the value for statistics that are biased in resamples, such as d' and
    norms. We use this interval everywhere. The bounds are NaN if no resample is finite.
    """
    value, finite = float(draws[0]), draws[1:][torch.isfinite(draws[1:])].double()
    if not len(finite) or not np.isfinite(value):
        return Estimate(value, float("nan"), float("nan"), n)
    below = float((finite < value).double().mean() + (finite == value).double().mean() / 2)
    tail = norm.ppf((1 - level) / 2)
    bias = float(np.clip(norm.ppf(below), tail, -tail))
    shares = torch.tensor(norm.cdf([2 * bias + tail, 2 * bias - tail]), dtype=torch.float64)
    low, high = torch.quantile(finite, shares).tolist()
    return Estimate(value, min(low, value), max(high, value), n)


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
    """Return a share with its clustered interval.

    At exactly 0 or 1 all resamples agree; the bound is then the exact binomial one (Clopper-Pearson) with the number
    of clusters as trials. Raises ValueError if there are no prompts.
    """
    if not len(hits):
        raise ValueError("a share of no prompts is not defined; check the filters before it")
    resamples = Resamples.of(clusters, torch.ones_like(hits), seed=seed)
    found = estimate(mean_draws(hits[:, None].double(), resamples.weights)[:, 0], len(hits))
    tail = (1 - LEVEL) / 2
    if found.value == 0:
        return Estimate(0.0, 0.0, float(beta.ppf(1 - tail, 1, resamples.clusters)), found.n)
    if found.value == 1:
        return Estimate(1.0, float(beta.ppf(tail, resamples.clusters, 1)), 1.0, found.n)
    return found
