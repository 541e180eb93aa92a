"""The statistics of the README in NumPy and SciPy alone, written a second time."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.stats import beta, norm, rankdata

RESAMPLES = 1000


def mean_difference(states: np.ndarray, harmful: np.ndarray) -> np.ndarray:
    """Return mean harmful minus mean harmless."""
    return states[harmful].mean(0) - states[~harmful].mean(0)


def balanced(states: np.ndarray, harmful: np.ndarray) -> np.ndarray:
    """Return the mean of both labels' means."""
    return (states[harmful].mean(0) + states[~harmful].mean(0)) / 2


def resampled(harmful: np.ndarray, clusters: Sequence[str], seed: int) -> np.ndarray:
    """Return how often each prompt counts: row 0 once each, then resamples of clusters within each label."""
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    label = np.array([harmful[codes == code][0] for code in range(len(names))])
    counts, generator = np.ones((RESAMPLES + 1, len(names))), np.random.default_rng(seed)
    for kind in (True, False):
        members = np.flatnonzero(label == kind)
        if len(members):
            drawn = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), RESAMPLES)
            counts[1:, members] = drawn
    return counts[:, codes]


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return value and bias-corrected interval of a statistic; row 0 is the sample."""
    value, others = draws[0], draws[1:][np.isfinite(draws[1:])]
    equal = np.abs(others - value) <= 1e-12 * max(1.0, abs(value))
    below = ((others < value) & ~equal).mean() + equal.mean() / 2
    tail = norm.ppf((1 - level) / 2)
    bias = np.clip(norm.ppf(below), tail, -tail)
    low, high = np.quantile(others, norm.cdf([2 * bias + tail, 2 * bias - tail]))
    return float(value), float(min(low, value)), float(max(high, value))


def share(hits: np.ndarray, clusters: Sequence[str], seed: int) -> tuple[float, float, float]:
    """Return a share with its interval; the binomial one (Clopper-Pearson) where no resample varies."""
    weights = resampled(np.ones(len(hits), dtype=bool), clusters, seed)
    draws = weights @ hits / weights.sum(1)
    if draws.std() > 0:
        return interval(draws)
    trials = len(set(clusters))
    count = hits.mean() * trials
    low = beta.ppf(0.025, count, trials - count + 1) if count else 0.0
    return (
        float(hits.mean()),
        float(low),
        float(beta.ppf(0.975, count + 1, trials - count) if count < trials else 1.0),
    )


def never_seen(
    change: float, trials: int, span: float = 3, level: float = 0.95
) -> tuple[float, float, float]:
    """Return a change that no resample varies, give or take `span` times the bound of what no cluster showed."""
    unseen = span * float(beta.ppf((1 + level) / 2, 1, trials))
    return change, change - unseen, change + unseen


def gap(signal: np.ndarray, harmful: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return mean harmful minus mean harmless in each resample."""
    one, other = weights[:, harmful], weights[:, ~harmful]
    return one @ signal[harmful] / one.sum(1) - other @ signal[~harmful] / other.sum(1)


def d_prime(z: np.ndarray, harmful: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return d' in each resample."""
    moments = []
    for mask in (harmful, ~harmful):
        own, share = z[mask] - z.mean(), weights[:, mask] / weights[:, mask].sum(1, keepdims=True)
        mean, count = share @ own, weights[:, mask].sum(1)
        moments.append((mean, (share @ own**2 - mean**2) * count / (count - 1)))
    (high, one), (low, other) = moments
    return (high - low) / np.sqrt((one + other) / 2)


def usable(z: np.ndarray, harmful: np.ndarray, weights: np.ndarray, threshold: float) -> np.ndarray:
    """Return balanced accuracy at the threshold in each resample."""
    shares = [
        (weights[:, mask] @ right[mask]) / weights[:, mask].sum(1)
        for mask, right in ((harmful, z > threshold), (~harmful, z <= threshold))
    ]
    return (shares[0] + shares[1]) / 2


def auroc(signal: np.ndarray, harmful: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of harmful-harmless pairs in order, ties half, in each resample: every pair is compared."""
    above = (signal[harmful][:, None] > signal[~harmful]) + 0.5 * (
        signal[harmful][:, None] == signal[~harmful]
    )
    one, other = weights[:, harmful], weights[:, ~harmful]
    return ((one @ above) * other).sum(1) / (one.sum(1) * other.sum(1))


def correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the correlation of ranks in each resample; ranks are those of the sample."""
    x, y = (rankdata(each) - rankdata(each).mean() for each in (x, y))
    share = weights / weights.sum(1, keepdims=True)
    mean_x, mean_y = share @ x, share @ y
    spread = (share @ x**2 - mean_x**2) * (share @ y**2 - mean_y**2)
    return (share @ (x * y) - mean_x * mean_y) / np.sqrt(spread)


def random_vectors(drift: np.ndarray, refusal: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield vectors orthogonal to the refusal direction, as long as the drift at each block."""
    for number in range(count):
        generator = torch.Generator().manual_seed(seed + number)
        drawn = torch.randn(drift.shape, generator=generator, dtype=torch.float64).numpy()
        drawn -= (drawn * refusal).sum(-1, keepdims=True) * refusal
        yield (
            drawn
            * np.linalg.norm(drift, axis=-1, keepdims=True)
            / np.linalg.norm(drawn, axis=-1, keepdims=True)
        )
