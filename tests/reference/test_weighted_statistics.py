"""Weighted bootstrap statistics equal the obvious: copy each prompt as often as it was drawn, then compute."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from regap.geometry.estimates import Resamples, mean_draws
from regap.geometry.separability import auroc, d_prime, gap, usable

PROMPTS, LAYERS, THRESHOLDS = 30, 2, np.array([0.2, 1.0])
Statistic = Callable[[np.ndarray, np.ndarray, int], float]


def slow_gap(z: np.ndarray, harmful: np.ndarray, layer: int) -> float:
    return float(z[harmful].mean() - z[~harmful].mean())


def slow_mean(z: np.ndarray, harmful: np.ndarray, layer: int) -> float:
    return float(z.mean())


def slow_d_prime(z: np.ndarray, harmful: np.ndarray, layer: int) -> float:
    spread = np.sqrt((z[harmful].var(ddof=1) + z[~harmful].var(ddof=1)) / 2)
    return float(slow_gap(z, harmful, layer) / spread)


def slow_auroc(z: np.ndarray, harmful: np.ndarray, layer: int) -> float:
    return float(roc_auc_score(harmful, z))


def slow_usable(z: np.ndarray, harmful: np.ndarray, layer: int) -> float:
    return float(balanced_accuracy_score(harmful, z > THRESHOLDS[layer]))


@pytest.fixture(scope="module")
def sample() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coordinates with many ties, labels, and the weights of a bootstrap over clusters of up to three prompts."""
    generator = np.random.default_rng(0)
    harmful = np.arange(PROMPTS) % 3 == 0
    z = np.round(generator.normal(size=(PROMPTS, LAYERS)) + harmful[:, None], 1)
    clusters = generator.integers(0, 14, PROMPTS).astype(str)
    weights = Resamples.of(clusters, torch.from_numpy(harmful), count=40, seed=3).weights
    return torch.from_numpy(z), torch.from_numpy(harmful), weights


def explicitly(sample: tuple[torch.Tensor, torch.Tensor, torch.Tensor], statistic: Statistic) -> np.ndarray:
    z, harmful, weights = (each.numpy() for each in sample)
    copies = [np.repeat(np.arange(PROMPTS), row.astype(int)) for row in weights]
    return np.array(
        [[statistic(z[rows, each], harmful[rows], each) for each in range(LAYERS)] for rows in copies]
    )


def test_the_sample_has_ties_and_its_resamples_repeat_prompts(sample: tuple) -> None:
    z, _, weights = sample
    assert len(z[:, 0].unique()) < PROMPTS and float(weights.max()) >= 3


@pytest.mark.parametrize(
    ("fast", "slow"),
    [(gap, slow_gap), (d_prime, slow_d_prime), (auroc, slow_auroc)],
    ids=["gap", "d_prime", "auroc"],
)
def test_separability_in_each_resample(
    fast: Callable[..., torch.Tensor], slow: Statistic, sample: tuple
) -> None:
    np.testing.assert_allclose(fast(*sample).numpy(), explicitly(sample, slow), atol=1e-9)


def test_usable_separation_in_each_resample(sample: tuple) -> None:
    z, harmful, weights = sample
    found = usable(z, harmful, weights, torch.from_numpy(THRESHOLDS))
    np.testing.assert_allclose(found.numpy(), explicitly(sample, slow_usable), atol=1e-9)


def test_means_in_each_resample(sample: tuple) -> None:
    z, _, weights = sample
    np.testing.assert_allclose(
        mean_draws(z, weights).numpy(),
        explicitly(sample, slow_mean),
        atol=1e-9,
    )
