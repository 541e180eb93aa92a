"""The hull of fixed strengths is the best that chance mixtures of them reach."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from regap.analyses.regap_against_fixed import EQUIVALENT, _equivalent, _is_open, hull_at
from regap.geometry.estimates import Estimate
from regap.interventions.regap import Traces


def slowly(x: float, across: np.ndarray, up: np.ndarray) -> float:
    """The cheapest mixture that goes at most x across, by linear programming; the leftmost point if none does."""
    found = linprog(up, A_ub=across[None], b_ub=[x + 1e-12], A_eq=np.ones((1, len(up))), b_eq=[1.0])
    return float(found.fun) if found.success else float(up[np.argmin(across)])


@pytest.mark.parametrize("grid", [0, 10])
@pytest.mark.parametrize("points", [1, 2, 6])
def test_it_equals_the_best_mixture(points: int, grid: int) -> None:
    generator = np.random.default_rng(points)
    across, up, x = (generator.random(size) for size in ((80, points), (80, points), (80,)))
    if grid:  # shares of few prompts coincide often
        across, up, x = (np.round(values * grid) / grid for values in (across, up, x))
    found = hull_at(*(torch.from_numpy(values) for values in (x, across, up)))
    for row, value in enumerate(found.tolist()):
        if x[row] >= across[row].min() or len(set(across[row])) == points:
            assert value == pytest.approx(slowly(x[row], across[row], up[row]), abs=1e-9)


def test_mixtures_beat_the_points_they_mix() -> None:
    across, up = torch.tensor([[0.0, 0.5, 1.0]]).double(), torch.tensor([[1.0, 0.9, 0.0]]).double()
    assert float(hull_at(torch.tensor([0.5]).double(), across, up)) == pytest.approx(0.5)


def test_utility_is_unchanged_only_if_its_whole_interval_says_so() -> None:
    cases = {(-0.01, 0.01): (True, False), (-0.03, 0.01): (False, False), (-0.05, -0.03): (False, True)}
    for (low, high), expected in cases.items():
        assert _equivalent(Estimate((low + high) / 2, low, high, 9)) == expected
    assert EQUIVALENT == 0.02


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.2])
def test_gates_of_every_signal_keep_to_the_budget_of_calibration(budget: float) -> None:
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randn(37, 2, generator=generator).double() for _ in range(2))
    traces = Traces(before, after)
    for signal in ("rho", "z_before", "z_after"):
        opened = _is_open(traces, traces, signal, budget)
        assert budget * 37 - 2 < sum(opened) <= budget * 37
        assert all(
            _is_open(traces, Traces(before - 99 * (signal != "z_after"), after + 99), signal, budget)
        ) == (signal != "z_before")
