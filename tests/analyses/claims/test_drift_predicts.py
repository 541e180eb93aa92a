"""The rank correlation is scipy's, in each resample, ties and all."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from regap.analyses.claims.drift_predicts import DriftPoint, _correlation, spearman
from regap.geometry.estimates import proportion


@pytest.mark.parametrize("points", [3, 5, 12])
@pytest.mark.parametrize("digits", [0, 6])
def test_it_equals_scipys_with_and_without_ties(points: int, digits: int) -> None:
    generator = np.random.default_rng(points)
    x, y = (np.round(generator.normal(size=(60, points)), digits) for _ in range(2))
    varied = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    found = spearman(torch.from_numpy(x[varied]), torch.from_numpy(y[varied]))
    expected = [
        float(np.asarray(spearmanr(one, other).statistic))
        for one, other in zip(x[varied], y[varied], strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    has_ties = any(len(set(row)) < points for row in x[varied])
    assert has_ties == (digits == 0) or points == 3


def test_only_the_order_counts() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]] * 2).double()
    y = torch.stack([x[0].exp(), -(x[0] ** 3)])
    assert spearman(x, y).tolist() == pytest.approx([1, -1])


def test_where_all_tie_or_one_is_not_known_there_is_no_correlation() -> None:
    nan, x = float("nan"), torch.tensor([[1.0, 2.0, 3.0]] * 3).double()
    y = torch.tensor([[1.0, 1.0, 1.0], [1.0, nan, 3.0], [1.0, 2.0, float("inf")]]).double()
    found = spearman(x, y)
    assert bool(found[:2].isnan().all()) and float(found[2]) == pytest.approx(1)


def test_attack_success_of_a_point_has_the_bound_that_a_share_has() -> None:
    none, some = torch.zeros(101, dtype=torch.float64), torch.rand(101, dtype=torch.float64)
    point = DriftPoint("arm", "text", some, some, none, 40, 20)
    found, share = (
        point.estimate("attack_success"),
        proportion(torch.zeros(20, dtype=torch.bool), list("abcdefghijklmnopqrst")),
    )
    assert (found.low, found.high) == pytest.approx((share.low, share.high)) and found.high > 0.1
    assert point.estimate("drift").low < point.estimate("drift").high


def test_a_correlation_that_no_resample_changes_has_no_interval() -> None:
    same = [torch.full((9,), float(place)).double() for place in range(3)]
    points = [DriftPoint("model", str(place), one, one, one, 5, 5) for place, one in enumerate(same)]
    found = _correlation(points, "model", "d_prime")
    assert found.value == pytest.approx(1) and np.isnan([found.low, found.high]).all()
