"""LEACE by the formula of its theorem, with matrix roots, against the singular values that the library uses."""

import numpy as np
import pytest
import torch
from scipy.linalg import fractional_matrix_power

from regap.interventions.defences.leace import erasure


def slow_leace(text: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Returns x - W^+ P W (x - E x) of all rows, for covariance matrices of full rank."""
    states, labels = np.concatenate([text, image]), np.repeat([0.0, 1.0], [len(text), len(image)])
    mean = states.mean(0)
    covariance = (states - mean).T @ (states - mean) / len(states)
    cross = (states - mean).T @ (labels - labels.mean())[:, None] / len(states)
    whiten, colour = (np.real(fractional_matrix_power(covariance, power)) for power in (-0.5, 0.5))
    seen = whiten @ cross
    projection = seen @ np.linalg.pinv(seen)
    return states - (states - mean) @ (colour @ projection @ whiten).T


def made(seed: int, text: int, image: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed)
    mixing = drawn.normal(size=(6, 6))
    return drawn.normal(size=(text, 6)) @ mixing, drawn.normal(size=(image, 6)) + drawn.normal(size=6) * 2


@pytest.mark.parametrize(("seed", "text", "image"), [(0, 40, 40), (1, 40, 40), (2, 30, 55)])
def test_both_ways_erase_the_same(seed: int, text: int, image: int) -> None:
    sets = made(seed, text, image)
    states = torch.from_numpy(np.concatenate(sets))
    found = erasure(torch.from_numpy(sets[0]), torch.from_numpy(sets[1]))
    assert np.allclose((states + found(states)).numpy(), slow_leace(*sets), atol=1e-6)


def test_no_other_eraser_of_rank_one_changes_less() -> None:
    sets = made(3, 50, 50)
    states = torch.from_numpy(np.concatenate(sets))
    least = erasure(torch.from_numpy(sets[0]), torch.from_numpy(sets[1]))
    cost = float(least(states).square().sum())
    difference = torch.from_numpy(sets[1].mean(0) - sets[0].mean(0))
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):  # any write = the mean difference, any read with <read, write> = 1 erases it as well
        read = torch.randn(6, generator=generator, dtype=torch.float64)
        other = ((states - states.mean(0)) @ (read / (read @ difference)))[:, None] * difference
        assert float(other.square().sum()) >= cost - 1e-9


def test_states_that_span_too_little_are_erased_within_their_span() -> None:
    drawn = torch.Generator().manual_seed(0)
    text, image = (torch.randn(5, 40, generator=drawn, dtype=torch.float64) for _ in range(2))
    found = erasure(text, image)
    moved = torch.cat([text, image])
    moved = moved + found(moved)
    assert torch.allclose(moved[:5].mean(0), moved[5:].mean(0), atol=1e-9)
