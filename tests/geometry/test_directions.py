"""A planted refusal direction is found by every method, and none is found where labels mean nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from regap.errors import ConfigError, PairError
from regap.geometry.directions import (
    METHODS,
    Direction,
    DirectionMethod,
    difference_of_means,
    median_of_means,
    refusal_direction,
)
from regap.geometry.states.activations import Activations

Make = Callable[..., Activations]
WIDTH, PROMPTS = 16, 3000
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.__name__)


def unit(seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=WIDTH)
    return drawn / np.linalg.norm(drawn)


def planted(make: Make, seed: int = 0, shift: float = 2.0) -> Activations:
    """Two layers, each with a direction of its own, in noise that is equal all round."""
    generator = np.random.default_rng(seed)
    harmful = np.arange(PROMPTS) % 2 == 0
    states = generator.normal(size=(PROMPTS, 2, WIDTH)) + 7.0
    states[harmful] += shift * np.stack([unit(1), unit(2)])
    return make(states, harmful)


def cosines(found: Direction) -> list[float]:
    return [float(found.at(layer) @ torch.from_numpy(unit(1 + layer))) for layer in (0, 1)]


@every_method
def test_a_planted_direction_is_recovered_at_each_layer(method: DirectionMethod, make_states: Make) -> None:
    found = refusal_direction(planted(make_states), method)
    assert min(cosines(found)) > 0.99
    assert torch.allclose(found.vectors.norm(dim=-1), torch.ones(2, dtype=torch.float64))


@every_method
def test_where_labels_mean_nothing_no_direction_is_recovered(
    method: DirectionMethod, make_states: Make
) -> None:
    states = planted(make_states)
    shuffled = np.random.default_rng(3).permutation(states.harmful.numpy())
    found = refusal_direction(make_states(states.residuals, shuffled), method)
    assert max(map(abs, cosines(found))) < 0.8


@every_method
def test_it_points_to_harmful(method: DirectionMethod, make_states: Make) -> None:
    states = planted(make_states)
    opposite = refusal_direction(make_states(states.residuals, ~states.harmful), method)
    assert max(cosines(opposite)) < -0.99


def test_the_threshold_lies_midway_between_the_means(make_states: Make) -> None:
    states = planted(make_states)
    found = refusal_direction(states)
    z = found.coordinates(states)
    midway = (z[states.harmful].mean(0) + z[~states.harmful].mean(0)) / 2
    assert torch.allclose(found.thresholds, midway)


def test_coordinates_are_inner_products(make_states: Make) -> None:
    states = planted(make_states)
    found = refusal_direction(states)
    by_hand = [
        [float(state @ found.at(layer)) for layer, state in enumerate(row.double())]
        for row in states.residuals
    ]
    assert torch.allclose(found.coordinates(states), torch.tensor(by_hand, dtype=torch.float64))


def test_a_few_outliers_move_the_means_but_not_the_median_of_means(make_states: Make) -> None:
    states = planted(make_states)
    spoilt = states.residuals.clone()
    spoilt[states.harmful.nonzero()[:3, 0]] += 1e4
    moved = make_states(spoilt, states.harmful)
    assert min(cosines(refusal_direction(moved, median_of_means))) > 0.95
    assert max(cosines(refusal_direction(moved, difference_of_means))) < 0.5


@pytest.mark.parametrize("only", [True, False])
def test_a_missing_label_is_an_error_that_names_the_remedy(only: bool, make_states: Make) -> None:
    label = "harmless" if only else "harmful"
    with pytest.raises(
        PairError, match=f"arm text: no prompt with split=None, label={label}; add such pairs"
    ):
        refusal_direction(make_states(np.ones((4, 1, WIDTH)), [only] * 4))


def test_labels_with_one_mean_have_no_direction_and_the_block_is_named(make_states: Make) -> None:
    states = np.ones((4, 2, WIDTH))
    states[:2, 0] = 2
    with pytest.raises(ValueError, match="harmful and harmless states are equal after block 1, so"):
        refusal_direction(make_states(states, [True, True, False, False]))


def test_a_direction_has_length_one() -> None:
    zero: Any = torch.zeros(1, dtype=torch.float64)
    with pytest.raises(ValueError, match="a Direction has length 1 at each layer; one is off by 1"):
        Direction(torch.full((1, 4), 1.0, dtype=torch.float64), zero, (0,), "text")


def test_a_layer_that_was_not_captured_is_named(make_states: Make) -> None:
    states = planted(make_states)
    with pytest.raises(ValueError, match=r"layer 5 has no direction; there are \[0, 1\]"):
        refusal_direction(states).at(5)
    with pytest.raises(ValueError, match=r"layer 5 was not captured; captured are \[0, 1\]"):
        states.at(5)


@every_method
def test_a_method_may_be_given_by_its_name(method: DirectionMethod, make_states: Make) -> None:
    states = planted(make_states)
    assert torch.equal(
        refusal_direction(states, method.__name__).vectors, refusal_direction(states, method).vectors
    )


def test_a_name_that_no_method_has_is_refused(make_states: Make) -> None:
    with pytest.raises(ConfigError, match="method is 'mean'; choose one of difference_of_means, median_of"):
        refusal_direction(planted(make_states), "mean")
