"""The hull of settings is the best that chance mixtures of them reach, and its mean lies between its ends."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from regap.analyses.claims.frontier import Curve, hull_at


def slowly(x: float, across: np.ndarray, up: np.ndarray) -> float:
    """The cheapest mixture that goes at most x across, by linear programming; NaN if none does."""
    found = linprog(up, A_ub=across[None], b_ub=[x + 1e-12], A_eq=np.ones((1, len(up))), b_eq=[1.0])
    return float(found.fun) if found.success else float("nan")


@pytest.mark.parametrize("grid", [0, 10])
@pytest.mark.parametrize("points", [1, 2, 6])
def test_it_equals_the_best_mixture(points: int, grid: int) -> None:
    generator = np.random.default_rng(points)
    across, up, x = (generator.random(size) for size in ((80, points), (80, points), (80,)))
    if grid:  # shares of few prompts coincide often
        across, up, x = (np.round(values * grid) / grid for values in (across, up, x))
    found = hull_at(*(torch.from_numpy(values) for values in (x, across, up)))
    for row, value in enumerate(found.tolist()):
        assert value == pytest.approx(slowly(x[row], across[row], up[row]), abs=1e-9, nan_ok=True)


def test_an_over_refusal_below_all_points_is_not_reached() -> None:
    across, up = torch.tensor([[0.06, 0.08]]).double(), torch.tensor([[0.5, 0.3]]).double()
    assert torch.isnan(hull_at(torch.tensor([0.01]).double(), across, up)).all()
    assert float(hull_at(torch.tensor([0.06]).double(), across, up)) == pytest.approx(0.5)
    assert float(hull_at(torch.tensor([0.07]).double(), across, up)) == pytest.approx(0.4)


def test_mixtures_beat_the_points_they_mix() -> None:
    across, up = torch.tensor([[0.0, 0.5, 1.0]]).double(), torch.tensor([[1.0, 0.9, 0.0]]).double()
    assert float(hull_at(torch.tensor([0.5]).double(), across, up)) == pytest.approx(0.5)


def answered(make_judged, refused_harmful: int, refused_harmless: int) -> list:
    """Ten harmful and ten harmless prompts, so many of each refused."""
    harmful = [("harmful", "refused" if i < refused_harmful else "complied") for i in range(10)]
    return make_judged(
        [*harmful, *(("harmless", "refused" if i < refused_harmless else "complied") for i in range(10))]
    )


def test_a_curve_averages_its_hull(make_judged) -> None:
    curve = Curve.of([answered(make_judged, 0, 0), answered(make_judged, 10, 10)], seed=0)
    assert float(curve.at_share(0.3)[0]) == pytest.approx(0.7)
    assert float(curve.mean_up_to(1.0)[0]) == pytest.approx(0.5)
    assert float(curve.mean_up_to(0.2)[0]) == pytest.approx(0.9)


def test_a_setting_that_refuses_harmful_prompts_alone_lowers_the_whole_curve(make_judged) -> None:
    ends = [answered(make_judged, 0, 0), answered(make_judged, 10, 10)]
    plain, better = Curve.of(ends, seed=0), Curve.of([*ends, answered(make_judged, 8, 0)], seed=0)
    assert float((better.mean_up_to(0.05) - plain.mean_up_to(0.05))[0]) < -0.7
    mixed = Curve.of([*ends, answered(make_judged, 5, 5)], seed=0)  # no better than chance
    assert float((mixed.mean_up_to(1.0) - plain.mean_up_to(1.0))[0]) == pytest.approx(0.0)


def test_no_mean_is_taken_over_what_is_not_reached(make_judged) -> None:
    curve = Curve.of([answered(make_judged, 5, 1), answered(make_judged, 8, 3)], seed=0)
    assert torch.isnan(curve.mean_up_to(0.2)[0]) and torch.isnan(curve.at_share(0.05)[0])
    assert float(curve.at_share(0.1)[0]) == pytest.approx(0.5)
