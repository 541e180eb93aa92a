"""Separability equals its closed forms, does not see a common shift, and vanishes when labels mean nothing."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from regap.geometry.directions import Direction, refusal_direction
from regap.geometry.estimates import Resamples
from regap.geometry.separability import MEASURES, auroc, d_prime, draws, gap, separability, usable
from regap.geometry.states.activations import Activations

Make = Callable[..., Activations]
WIDTH = 8


def values(states: Activations, direction: Direction) -> dict[str, torch.Tensor]:
    """The measures of the sample itself, one number a layer."""
    alone = Resamples.of(states.clusters, states.harmful, count=0)
    return {name: found[0] for name, found in draws(states, direction, alone).items()}


def column(z: list[float], harmful: list[bool]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.tensor(z).double()[:, None],
        torch.tensor(harmful),
        torch.ones(1, len(z), dtype=torch.float64),
    )


@pytest.fixture
def states(make_states: Make) -> Activations:
    harmful = np.arange(400) % 2 == 0
    drawn = np.random.default_rng(0).normal(size=(400, 1, WIDTH))
    drawn[harmful] += 0.5
    return make_states(drawn, harmful)


@pytest.fixture
def refusal(states: Activations) -> Direction:
    return refusal_direction(states)


def test_on_gaussians_all_measures_are_their_closed_forms() -> None:
    generator = np.random.default_rng(0)
    harmful = torch.arange(40_000) % 2 == 0
    z = torch.from_numpy(generator.normal(size=(40_000, 1)) * 3.0)
    z[harmful] += 4.5  # three units wide: d' is 1.5
    one = torch.ones(1, len(z), dtype=torch.float64)
    assert float(gap(z, harmful, one)) == pytest.approx(4.5, abs=0.1)
    assert float(d_prime(z, harmful, one)) == pytest.approx(1.5, abs=0.03)
    assert float(auroc(z, harmful, one)) == pytest.approx(norm.cdf(1.5 / 2**0.5), abs=0.01)
    assert float(usable(z, harmful, one, torch.tensor([2.25]).double())) == pytest.approx(
        norm.cdf(0.75), abs=0.01
    )


@pytest.mark.parametrize(
    ("z", "expected"),
    [
        ([1, 1, 1, 1], 0.5),
        ([2, 1, 1, 0], 0.875),
        ([1, 1, 0, 0], 1.0),
        ([0, 0, 1, 1], 0.0),
        ([1, 0, 1, 0], 0.5),
    ],
)
def test_tied_coordinates_count_half_in_any_order(z: list[float], expected: float) -> None:
    harmful = [True, True, False, False]
    assert float(auroc(*column(z, harmful))) == expected
    assert float(auroc(*column(z[::-1], harmful[::-1]))) == expected


@pytest.mark.parametrize("only", [True, False])
def test_one_class_has_no_separability(only: bool, states: Activations, refusal: Direction) -> None:
    kept = states.where(label="harmful" if only else "harmless")
    missing = "harmless" if only else "harmful"
    with pytest.raises(ValueError, match=f"arm text has no {missing} prompt; .* add {missing} pairs"):
        separability([kept], refusal, resamples=10)


def test_one_vector_added_to_all_states_changes_usable_separation_alone(
    states: Activations, refusal: Direction, make_states: Make
) -> None:
    moved = make_states(states.residuals - 2 * refusal.vectors.float(), states.harmful)
    before, after = values(states, refusal), values(moved, refusal)
    for measure in ("gap", "d_prime", "auroc"):
        assert torch.allclose(before[measure], after[measure], atol=1e-5), measure
    assert float(before["usable"]) > 0.7 and float(after["usable"]) < 0.55  # the shift is there to be seen


def test_a_vector_orthogonal_to_the_refusal_direction_moves_no_coordinate(
    states: Activations, refusal: Direction, make_states: Make
) -> None:
    across = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(0)).double() * 5
    along = (across * refusal.vectors).sum(-1, keepdim=True) * refusal.vectors
    still = make_states((states.residuals + (across - along)).float(), states.harmful)
    moved = make_states((states.residuals + across).float(), states.harmful)
    before = refusal.coordinates(states)
    assert torch.allclose(refusal.coordinates(still), before, atol=1e-5)
    assert float((refusal.coordinates(moved) - before).abs().min()) > 0.1


def test_with_permuted_labels_every_measure_vanishes(
    states: Activations, refusal: Direction, make_states: Make
) -> None:
    permuted = np.random.default_rng(1).permutation(states.harmful.numpy())
    nothing = separability([make_states(states.residuals, permuted)], refusal).set_index("measure")
    something = separability([states], refusal).set_index("measure")
    for measure, chance in {"gap": 0.0, "d_prime": 0.0, "auroc": 0.5, "usable": 0.5}.items():
        assert nothing.low[measure] < chance < nothing.high[measure], measure
        assert something.low[measure] > chance, measure


def test_a_large_common_offset_costs_no_digits(states: Activations) -> None:
    z = torch.randn(50, 1, generator=torch.Generator().manual_seed(0)).double()
    harmful, one = torch.arange(50) % 2 == 0, torch.ones(1, 50, dtype=torch.float64)
    assert torch.allclose(d_prime(z, harmful, one), d_prime(z + 1e6, harmful, one), rtol=1e-6)


def test_the_table_has_a_row_for_each_arm_layer_and_measure_of_the_test_split(make_states: Make) -> None:
    generator = np.random.default_rng(0)
    harmful = np.arange(40) % 2 == 0
    arms = [
        make_states(generator.normal(size=(40, 3, WIDTH)), harmful, arm=arm)
        for arm in ("text", "typographic")
    ]
    mixed = Activations(
        torch.cat([arms[0].residuals, arms[0].residuals + 9]),
        (*arms[0].rows, *make_states(arms[0].residuals, harmful, split="calibration").rows),
        "text",
        (0, 1, 2),
        "model",
    )
    refusal = refusal_direction(arms[0])
    table = separability({"text": mixed, "typographic": arms[1]}, refusal, resamples=20)
    cells = pd.MultiIndex.from_product([["text", "typographic"], MEASURES, [0, 1, 2]])
    assert list(table[["arm", "measure", "layer"]].itertuples(index=False, name=None)) == list(cells)
    assert table.n.eq(40).all()
    pd.testing.assert_frame_equal(table[:12], separability([arms[0]], refusal, resamples=20))


def test_the_same_seed_gives_the_same_intervals(states: Activations, refusal: Direction) -> None:
    first, again, other = (separability([states], refusal, resamples=50, seed=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert (first.value == other.value).all() and (first.low != other.low).any()


@pytest.mark.parametrize("swapped", [False, True])
def test_full_separation_of_a_few_has_the_exact_bound_of_a_few(make_states: Make, swapped: bool) -> None:
    """Four pairs that are all in order leave a chance of 0.4; forty leave 0.91."""
    for each, bound in ((4, 0.025 ** (1 / 4)), (40, 0.025 ** (1 / 40))):
        harmful = np.arange(2 * each) % 2 == 0
        drawn = np.random.default_rng(0).normal(size=(2 * each, 1, WIDTH)) * 0.01
        drawn[harmful] += 1.0
        states = make_states(drawn, harmful)
        direction = refusal_direction(states)
        table = separability(make_states(drawn, ~harmful) if swapped else states, direction).set_index(
            "measure"
        )
        found = table.loc["auroc", ["value", "low", "high"]].tolist()
        assert found == pytest.approx([0.0, 0.0, 1 - bound] if swapped else [1.0, bound, 1.0])
        assert table.loc["usable", "high"] - table.loc["usable", "low"] == pytest.approx(1 - bound)
        assert (table["high"] > table["low"]).all()


def test_clusters_that_are_the_labels_have_no_interval_at_all(make_states: Make) -> None:
    harmful = np.arange(40) % 2 == 0
    drawn = np.random.default_rng(0).normal(size=(40, 1, WIDTH))
    states = make_states(drawn, harmful, clusters=["harmful" if one else "harmless" for one in harmful])
    table = separability(states, refusal_direction(states))
    assert table["value"].notna().all() and table[["low", "high"]].isna().all(axis=None)
