"""Each test against its closed form, an independent computation, or its error rate on planted data."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.stats import binom, ttest_1samp
from torch import Tensor

from regap.analyses.statistics import (
    difference,
    equivalence,
    holm,
    mcnemar,
    paired_difference,
    smallest_detectable,
)


def both(gained: int, lost: int, same: int) -> tuple[Tensor, Tensor, list[str]]:
    """Prompts that change each way and that do not, each its own cluster."""
    before = torch.tensor([False] * gained + [True] * lost + [True, False] * (same // 2))
    after = torch.tensor([True] * gained + [False] * lost + [True, False] * (same // 2))
    return before, after, [str(place) for place in range(len(before))]


@pytest.mark.parametrize(("gained", "lost"), [(6, 0), (0, 6), (10, 2), (3, 3), (1, 0), (0, 0)])
def test_mcnemar_is_the_sign_test_of_those_that_change(gained: int, lost: int) -> None:
    before, after, _ = both(gained, lost, 40)
    tail = binom.cdf(min(gained, lost), gained + lost, 0.5)
    assert mcnemar(before, after) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(*both(gained, lost, 400)[:2]) == mcnemar(before, after)


def test_the_difference_is_that_of_shares_and_pairing_narrows_it() -> None:
    before, after, names = both(12, 4, 84)
    found = paired_difference(before, after, names)
    assert found.value == pytest.approx(0.08) and 0 < found.low < 0.08 < found.high and found.n == 100
    shuffled = after[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    apart = paired_difference(before, shuffled, names)
    assert apart.value == pytest.approx(0.08) and apart.high - apart.low > 1.5 * (found.high - found.low)


def test_prompts_of_one_cluster_count_as_one_draw() -> None:
    before, after, names = both(12, 4, 84)
    together = [str(int(name) // 4) for name in names]
    wide, narrow = paired_difference(before, after, together), paired_difference(before, after, names)
    assert wide.high - wide.low > 1.4 * (narrow.high - narrow.low)
    assert equivalence(before, after, together, 0.2) > equivalence(before, after, names, 0.2)
    assert smallest_detectable(before, after, together) > 1.4 * smallest_detectable(before, after, names)


def test_no_change_among_few_proves_little_and_among_many_much() -> None:
    few, many = paired_difference(*both(0, 0, 10)), paired_difference(*both(0, 0, 1000))
    assert few.low == -few.high < -0.2 and many.low == -many.high > -0.01
    assert equivalence(*both(0, 0, 10)) == pytest.approx(0.95**10)
    assert equivalence(*both(0, 0, 100)) == pytest.approx(0.95**100)


@pytest.mark.parametrize("margin", [0.02, 0.05, 0.2])
def test_equivalence_is_two_one_sided_t_tests(margin: float) -> None:
    before, after, names = both(7, 5, 188)
    changes = after.double().numpy() - before.double().numpy()
    expected = max(
        ttest_1samp(changes, -margin, alternative="greater").pvalue,
        ttest_1samp(changes, margin, alternative="less").pvalue,
    )
    assert equivalence(before, after, names, margin) == pytest.approx(expected)


def test_equivalence_is_not_found_where_the_share_falls_by_more() -> None:
    assert equivalence(*both(0, 40, 160), 0.05) > 0.99
    assert equivalence(*both(0, 4, 0), 0.05) == 1
    assert equivalence(torch.tensor([True]), torch.tensor([False]), ["a"]) == 1
    with pytest.raises(ValueError, match=r"margin is 5\.0; give the smallest change that matters"):
        equivalence(*both(1, 1, 2), 5.0)


@pytest.mark.parametrize("clusters", [6, 7, 50, 400])
def test_where_nothing_changed_six_one_way_changes_have_to_be_likely(clusters: int) -> None:
    before = torch.zeros(clusters, dtype=torch.bool)
    found = smallest_detectable(before, before, [str(place) for place in range(clusters)])
    assert binom.sf(5, clusters, found) == pytest.approx(0.8)
    assert mcnemar(before, torch.arange(clusters) < 6) < 0.05 < mcnemar(before, torch.arange(clusters) < 5)


def test_nothing_is_detectable_with_five_prompts() -> None:
    before, after, names = both(0, 0, 4)
    assert smallest_detectable(before, after, names) == math.inf
    assert "no change could have been found" in str(difference(before, after, names))


def test_a_change_as_large_as_the_detectable_one_is_found_four_times_in_five() -> None:
    random, clusters = np.random.default_rng(0), 300
    names = [str(place) for place in range(clusters)]

    def study(effect: float) -> tuple[Tensor, Tensor]:
        """A fifth of the prompts change, more of them one way than the other."""
        draw = random.choice([1, -1, 0], size=clusters, p=[0.1 + effect / 2, 0.1 - effect / 2, 0.8])
        return torch.tensor(draw == -1), torch.tensor(draw == 1)

    effect = float(np.mean([smallest_detectable(*study(0.0), names) for _ in range(20)]))
    found = [mcnemar(*study(effect)) < 0.05 for _ in range(400)]
    nothing = [mcnemar(*study(0.0)) < 0.05 for _ in range(400)]
    assert effect == pytest.approx(2.8 * math.sqrt(0.2 / clusters), rel=0.05)
    assert 0.7 < np.mean(found) < 0.87 and np.mean(nothing) < 0.06


def test_a_null_says_what_it_could_have_found_and_a_finding_does_not() -> None:
    null, found = difference(*both(5, 4, 91)), difference(*both(30, 2, 68))
    assert null.is_null and f"a change below {null.detectable:.2g} would not have been found" in str(null)
    assert not found.is_null and "would not" not in str(found) and "p = " in str(found)


def test_holm_by_hand() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(found) == ["a", "b", "c", "d"]
    assert holm({"a": 0.6, "b": 0.9}) == {"a": 1.0, "b": 1.0} and holm({}) == {}
    for wrong in (math.nan, -0.1, 1.5):
        with pytest.raises(ValueError, match="give numbers from 0 to 1"):
            holm({"a": wrong})


def test_holm_keeps_the_rate_of_any_false_rejection() -> None:
    draws = np.random.default_rng(2).random((2000, 8))

    def rate(rows: Sequence[Sequence[float]]) -> float:
        return float(np.mean([min(row) < 0.05 for row in rows]))

    adjusted = [list(holm({str(i): float(p) for i, p in enumerate(row)}).values()) for row in draws]
    assert rate(adjusted) < 0.065 and rate(draws.tolist()) > 0.25


def test_a_difference_over_no_prompts_is_refused() -> None:
    nothing = torch.zeros(0, dtype=torch.bool)
    for test in (paired_difference, equivalence, smallest_detectable):
        with pytest.raises(ValueError, match="needs at least one prompt"):
            test(nothing, nothing, [])
