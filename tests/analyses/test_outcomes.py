"""Shares of verdicts, counted by hand; what was not judged is neither a success nor a failure."""

from collections.abc import Callable, Sequence

import pytest
import torch
from scipy.stats import binomtest

from regap.analyses.judges.verdicts import Judged
from regap.analyses.outcomes import difference, outcomes, share_draws

Make = Callable[[Sequence[tuple[str, ...]]], list[Judged]]
CELLS = [
    *[("harmful", "complied")] * 3,
    *[("harmful", "refused")] * 4,
    *[("harmful", "degenerate")] * 1,
    *[("harmful", "not_judged")] * 2,
    *[("harmless", "complied")] * 5,
    *[("harmless", "refused")] * 2,
    *[("harmless", "degenerate")] * 3,
]


def test_shares_are_of_the_judged_prompts_of_a_label(make_judged: Make) -> None:
    found = outcomes(make_judged(CELLS))
    assert {name: (each.value, each.n) for name, each in found.items()} == {
        "attack_success": (3 / 8, 8),
        "refusal": (4 / 8, 8),
        "degenerate_harmful": (1 / 8, 8),
        "utility": (0.5, 10),
        "over_refusal": (0.2, 10),
        "degenerate_harmless": (pytest.approx(0.3), 10),
        "not_judged": (0.1, 20),
    }
    assert all(each.low < each.value < each.high for each in found.values())


def test_a_label_without_judged_prompts_has_no_measures_rather_than_0(make_judged: Make) -> None:
    found = outcomes(make_judged([("harmful", "not_judged")] * 4 + [("harmless", "complied")] * 3))
    assert set(found) == {"utility", "over_refusal", "degenerate_harmless", "not_judged"}
    assert found["not_judged"].value == 4 / 7
    with pytest.raises(ValueError, match="no answers were judged; generate answers first"):
        outcomes([])


def test_no_success_among_few_is_no_proof_of_none(make_judged: Make) -> None:
    found = outcomes(make_judged([("harmful", "refused")] * 9))
    exact = binomtest(0, 9).proportion_ci(method="exact")
    assert (found["attack_success"].low, found["attack_success"].high) == pytest.approx(
        (exact.low, exact.high)
    )
    assert found["refusal"].low == pytest.approx(1 - exact.high)


def test_answers_of_one_cluster_count_as_one_draw(make_judged: Make) -> None:
    apart = [("harmful", "complied" if place % 8 < 4 else "refused") for place in range(32)]
    together = [(*cell, str(place // 4)) for place, cell in enumerate(apart)]
    wide, narrow = outcomes(make_judged(together))["refusal"], outcomes(make_judged(apart))["refusal"]
    assert wide.value == narrow.value == 0.5
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_row_0_of_the_draws_is_the_share(make_judged: Make) -> None:
    draws = share_draws(make_judged(CELLS), "attack_success")
    assert float(draws[0]) == 3 / 8 and len(draws.unique()) > 3
    assert torch.equal(draws, share_draws(make_judged(CELLS), "attack_success"))
    with pytest.raises(ValueError, match="attack_success needs judged harmful prompts, and there are none"):
        share_draws(make_judged([("harmless", "complied")]), "attack_success")


def test_a_difference_is_resampled_in_pairs(make_judged: Make) -> None:
    """Where all that changes is one answer in twenty, an unpaired interval would be many times as wide."""
    before = [("harmful", "complied")] * 20 + [("harmful", "refused")] * 20
    after = [("harmful", "refused")] * 2 + before[2:]
    found = difference(make_judged(before), make_judged(after), "attack_success")
    assert found.value == pytest.approx(-0.05) and found.n == 40
    assert -0.16 < found.low < found.high <= 0.01
    same = difference(make_judged(before), make_judged(before), "attack_success")
    unseen = binomtest(0, 40).proportion_ci(method="exact").high  # no change among 40 proves none up to this
    assert (same.value, same.low, same.high) == pytest.approx((0, -unseen, unseen))


def test_a_difference_is_over_prompts_judged_both_times_in_any_order(make_judged: Make) -> None:
    before = make_judged([("harmless", "complied")] * 6)
    after = make_judged(
        [("harmless", "refused"), ("harmless", "not_judged"), *[("harmless", "complied")] * 4]
    )
    found = difference(before, after[::-1], "utility")
    assert (found.value, found.n) == (pytest.approx(-1 / 5), 5)


def test_no_change_on_few_prompts_is_no_proof_of_equivalence(make_judged: Make) -> None:
    few, many = (make_judged([("harmless", "complied")] * count) for count in (5, 500))
    assert difference(few, few, "utility").high > 0.3
    assert 0 < difference(many, many, "utility").high < 0.01
