"""Planted clouds of tokens are mapped onto each other, in mean and in spread; equal ones are left where they are."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regap.errors import PairError
from regap.geometry.alignment import (
    MAPS,
    TokenCloud,
    cloud_of,
    diagonal,
    gaussian,
    token_cloud,
    token_weights,
    unchanged,
)
from regap.geometry.states.activations import StateRow
from regap.geometry.states.token_states import Token, TokenStates

WIDTH, TOKENS = 6, 4000


def drawn(seed: int) -> Tensor:
    """Tokens of a Gaussian with a planted mean and spread."""
    made = np.random.default_rng(seed)
    mixing = 0.4 * made.normal(size=(WIDTH, WIDTH)) + np.diag(made.uniform(1, 3, WIDTH))
    return torch.from_numpy(made.normal(size=(TOKENS, WIDTH)) @ mixing.T + 5 * made.normal(size=WIDTH))


def even(states: Tensor) -> TokenCloud:
    return token_cloud(states, torch.full((len(states),), 1 / len(states), dtype=torch.float64))


def mapped(states: Tensor, kind: str, source: TokenCloud, target: TokenCloud) -> Tensor:
    return target.mean + (states - source.mean) @ MAPS[kind](source, target).T


@pytest.fixture(scope="module")
def images() -> Tensor:
    return drawn(0)


@pytest.fixture(scope="module")
def words() -> Tensor:
    return drawn(1)


def off(found: Tensor, states: Tensor) -> float:
    """How far the covariances are apart, relative to the second."""
    return float((found.T.cov() - states.T.cov()).norm() / states.T.cov().norm())


def test_the_gaussian_map_leaves_no_difference_of_mean_and_covariance(images: Tensor, words: Tensor) -> None:
    found = mapped(images, "gaussian", even(images), even(words))
    assert torch.allclose(found.mean(0), words.mean(0), atol=1e-9) and off(found, words) < 0.01
    for control in ("mean", "diagonal"):  # the same check fails where the whole spread is not mapped
        assert off(mapped(images, control, even(images), even(words)), words) > 0.1


def test_the_diagonal_map_matches_each_coordinate_alone(images: Tensor, words: Tensor) -> None:
    found = mapped(images, "diagonal", even(images), even(words))
    assert torch.allclose(found.mean(0), words.mean(0), atol=1e-9)
    assert torch.allclose(found.std(0), words.std(0), rtol=0.02)
    shifted = mapped(images, "mean", even(images), even(words))
    assert not torch.allclose(shifted.std(0), words.std(0), rtol=0.02)


@pytest.mark.parametrize("kind", MAPS)
def test_equal_clouds_are_left_where_they_are(kind: str, images: Tensor) -> None:
    assert torch.allclose(mapped(images, kind, even(images), even(images)), images, atol=1e-8)


def test_of_all_maps_with_the_same_result_the_gaussian_one_moves_least(images: Tensor, words: Tensor) -> None:
    """Another map with the same mean and covariance, through Cholesky factors, moves further; A is symmetric."""
    source, target = even(images), even(words)
    turned = torch.linalg.cholesky(target.covariance) @ torch.linalg.inv(
        torch.linalg.cholesky(source.covariance)
    )
    other = target.mean + (images - source.mean) @ turned.T
    assert off(other, words) < 0.01
    moved = (mapped(images, "gaussian", source, target) - images).square().sum(1).mean()
    assert float(moved) < float((other - images).square().sum(1).mean())
    matrix = gaussian(source, target)
    assert torch.allclose(matrix, matrix.T, atol=1e-9)


def test_both_ways_undo_each_other(images: Tensor, words: Tensor) -> None:
    source, target = even(images), even(words)
    assert torch.allclose(gaussian(source, target) @ gaussian(target, source), torch.eye(WIDTH).double())
    assert torch.equal(unchanged(source, target), torch.eye(WIDTH).double())
    assert torch.allclose(diagonal(source, target) @ diagonal(target, source), torch.eye(WIDTH).double())


def test_labels_prompts_and_the_tokens_of_a_prompt_weigh_the_same() -> None:
    harmful, tokens = torch.tensor([True, False, False]), torch.tensor([1, 2, 4])
    found = token_weights(harmful, tokens)
    assert found.tolist() == [0.5, *[0.125] * 2, *[0.0625] * 4]
    assert token_weights(torch.tensor([True]), torch.tensor([2])).tolist() == [0.5, 0.5]


def test_weights_count_tokens_as_often_as_they_say(images: Tensor) -> None:
    """A token of double weight is a token that is there twice; few tokens are shrunk more than many."""
    few = images[:30]
    twice = even(torch.cat([few, few[:10]]))
    weights = torch.cat([torch.full((10,), 2.0), torch.full((20,), 1.0)]).double() / 40
    once = token_cloud(few, weights)
    assert torch.allclose(once.mean, twice.mean)
    plain = (few - once.mean).T @ ((few - once.mean) * weights[:, None])
    unshrunk = (once.covariance - once.shrinkage * plain.diagonal().mean() * torch.eye(WIDTH).double()) / (
        1 - once.shrinkage
    )
    assert torch.allclose(unshrunk, plain)
    assert 0 < even(images).shrinkage < once.shrinkage < 1


def test_fewer_tokens_than_coordinates_still_give_a_map(images: Tensor, words: Tensor) -> None:
    found = gaussian(even(images[:3]), even(words[:3]))
    assert bool(torch.isfinite(found).all()) and float(found.abs().max()) < 100


def token_states(states: list[Any], roles: list[list[Any]]) -> TokenStates:
    rows = tuple(
        StateRow(f"p{i}", "harmful" if i else "harmless", "", "calibration", f"p{i}")
        for i in range(len(states))
    )
    tokens = tuple(tuple(Token("x", role) for role in each) for each in roles)
    return TokenStates(
        tuple(torch.tensor(each)[:, None] for each in states), tokens, rows, "image", (2,), "model"
    )


def test_the_tokens_of_a_role_are_taken_and_a_prompt_without_any_is_said() -> None:
    states = token_states(
        [[[1.0, 1], [9.0, 9]], [[3.0, 5], [9, 9], [5, 3]]],
        [["image", "template"], ["image", "template", "image"]],
    )
    cloud = cloud_of(states, "image", 2)
    assert cloud.mean.tolist() == [2.5, 2.5] and cloud.tokens == 3
    with pytest.raises(PairError, match="pair 'p0' has no token of role audio in arm image"):
        cloud_of(states, "audio", 2)


def test_tokens_that_do_not_vary_have_no_spread(images: Tensor) -> None:
    with pytest.raises(PairError, match="do not vary"):
        even(images[:1].repeat(5, 1))
