"""How often the 95 % intervals that regap prints contain the truth, by simulation.

    python tests/reference/interval_coverage.py          # 1000 samples for each line: minutes

Every sample is drawn from a distribution whose truth is known, and given to the functions that a run uses. Prompts are
independent unless a line says otherwise.
"""

import sys
from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.stats import norm

from regap.analyses.across_models.statistics import over_models
from regap.analyses.claims.collapse import share_lost
from regap.analyses.claims.drift_predicts import item_correlations
from regap.analyses.statistics import paired_difference
from regap.geometry.estimates import Estimate, Resamples, estimate, proportion
from regap.geometry.separability import auroc, d_prime, usable

HARMFUL, HARMLESS = 200, 300
"""Test prompts of each label in the demo."""
Sample = Callable[[np.random.Generator], Estimate]


def share(p: float, n: int = HARMFUL) -> Sample:
    """A share of n requests."""
    return lambda drawn: proportion(torch.from_numpy(drawn.random(n) < p), names(n))


def clustered_share(p: float, clusters: int = 50, each: int = 4) -> Sample:
    """A share of requests in clusters, whose members are alike: each cluster has a rate of its own around p."""

    def sample(drawn: np.random.Generator) -> Estimate:
        rates = drawn.beta(4 * p, 4 * (1 - p), clusters).repeat(each)
        return proportion(torch.from_numpy(drawn.random(clusters * each) < rates), names(clusters, each))

    return sample


def change(before: float, gained: float) -> Sample:
    """The change of a share on the same requests: this share of them is gained."""

    def sample(drawn: np.random.Generator) -> Estimate:
        was = drawn.random(HARMFUL) < before
        now = was | (drawn.random(HARMFUL) < gained / (1 - before))
        return paired_difference(torch.from_numpy(was), torch.from_numpy(now), names(HARMFUL))

    return sample


def of_coordinates(measure: Callable[..., torch.Tensor], gap: float, *more: torch.Tensor) -> Sample:
    """A measure of z of both labels, which are normal and `gap` standard deviations apart."""

    def sample(drawn: np.random.Generator) -> Estimate:
        harmful, weights = labels(drawn)
        z = torch.from_numpy(drawn.normal(size=len(harmful)))[:, None] + gap * harmful[:, None].double()
        return estimate(measure(z, harmful, weights, *more)[:, 0], len(harmful))

    return sample


def lost(text: float, image: float, shared: float = 0.5) -> Sample:
    """The share of d' that images lose, where text and image of a request share half of their variance."""

    def sample(drawn: np.random.Generator) -> Estimate:
        harmful, weights = labels(drawn)
        common = drawn.normal(size=len(harmful)) * shared**0.5
        z = [
            torch.from_numpy(common + drawn.normal(size=len(harmful)) * (1 - shared) ** 0.5)[:, None]
            + gap * harmful[:, None].double()
            for gap in (text, image)
        ]
        return estimate(share_lost(z[0], z[1], harmful, weights)[:, 0], len(harmful))

    return sample


def rank_correlation(correlation: float) -> Sample:
    """The rank correlation of drift and z of harmful requests, which are normal together."""

    def sample(drawn: np.random.Generator) -> Estimate:
        both = drawn.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], HARMFUL)
        x, y = map(torch.from_numpy, both.T.copy())
        weights = Resamples.of(names(HARMFUL), torch.ones(HARMFUL).bool(), seed=seed_of(drawn)).weights
        return estimate(item_correlations(x, y, x > 0, weights).draws["z"], HARMFUL)

    return sample


def mean_over_models(models: int) -> Sample:
    """The mean of one number a model."""
    return lambda drawn: over_models(drawn.normal(0.6, 0.2, models).tolist(), 0.5).mean


def labels(drawn: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of the demo's test prompts, and a sample's own resamples."""
    harmful = torch.arange(HARMFUL + HARMLESS) < HARMFUL
    return harmful, Resamples.of(names(len(harmful)), harmful, seed=seed_of(drawn)).weights


def names(count: int, each: int = 1) -> list[str]:
    """Names of clusters, with so many prompts each."""
    return [f"{cluster:04d}" for cluster in range(count) for _ in range(each)]


def seed_of(drawn: np.random.Generator) -> int:
    """A seed for resamples; each sample has its own."""
    return int(drawn.integers(2**31))


def spearman_of(correlation: float) -> float:
    """The rank correlation of two normal numbers with this correlation."""
    return float(6 / np.pi * np.arcsin(correlation / 2))


CASES: Mapping[str, tuple[Sample, float]] = {
    "a share of 0.5": (share(0.5), 0.5),
    "a share of 0.05": (share(0.05), 0.05),
    "a share of 0.01, of 300": (share(0.01, HARMLESS), 0.01),
    "a share of 0.3, 50 clusters of 4": (clustered_share(0.3), 0.3),
    "a change from 0.4 to 0.6": (change(0.4, 0.2), 0.2),
    "a change from 0.4 to 0.42": (change(0.4, 0.02), 0.02),
    "d′ of 1": (of_coordinates(d_prime, 1.0), 1.0),
    "d′ of 4": (of_coordinates(d_prime, 4.0), 4.0),
    "AUROC of 0.76": (of_coordinates(auroc, 1.0), float(norm.cdf(1 / 2**0.5))),
    "AUROC of 0.998": (of_coordinates(auroc, 4.0), float(norm.cdf(4 / 2**0.5))),
    "usable separation of 0.84": (
        of_coordinates(usable, 2.0, torch.tensor([1.0], dtype=torch.float64)),
        float(norm.cdf(1)),
    ),
    "share of d′ lost, 0.75": (lost(4.0, 1.0), 0.75),
    "rank correlation of −0.48": (rank_correlation(-0.5), spearman_of(-0.5)),
    "mean over 8 models": (mean_over_models(8), 0.6),
    "mean over 16 models": (mean_over_models(16), 0.6),
}


def coverage(name: str, samples: int, seed: int = 0) -> float:
    """Return the share of samples whose interval contains the truth."""
    sample, truth = CASES[name]
    drawn = np.random.default_rng([seed, samples, list(CASES).index(name)])
    found = [sample(drawn) for _ in range(samples)]
    return sum(one.low <= truth <= one.high for one in found) / samples


def main(samples: int) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| interval of | coverage |\n|---|---|")
    for name in CASES:
        print(f"| {name} | {coverage(name, samples):.3f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
