"""A verdict follows from intervals alone: an interval over the bound decides nothing."""

import pytest
import torch

from regap.analyses.claims.claim import Claim, above, below, beyond_all, claims_record, verdict_of
from regap.analyses.claims.criteria import criteria
from regap.geometry.estimates import Estimate

POSITIVE, NEGATIVE, OPEN = (Estimate(value, value - 1, value + 1, 9) for value in (2.0, -2.0, 0.5))


@pytest.mark.parametrize(
    ("estimates", "verdict"),
    [
        ([POSITIVE], "holds"),
        ([NEGATIVE], "does not hold"),
        ([OPEN], "unclear"),
        ([POSITIVE, POSITIVE], "holds"),
        ([POSITIVE, OPEN], "unclear"),
        ([POSITIVE, NEGATIVE], "does not hold"),
        ([OPEN, NEGATIVE], "does not hold"),
    ],
)
def test_all_conditions_must_be_met_and_one_contradicted_is_enough(
    estimates: list[Estimate], verdict: str
) -> None:
    assert verdict_of(*map(above, estimates)) == verdict


def test_above_and_below_are_mirror_images() -> None:
    for each in (POSITIVE, NEGATIVE, OPEN):
        assert above(each) == below(Estimate(-each.value, -each.high, -each.low, 9))
    assert above(POSITIVE, 1.5) == (False, False) and above(POSITIVE, 3.5) == (False, True)


def test_an_interval_that_is_not_known_decides_nothing() -> None:
    unknown = Estimate(5.0, float("nan"), float("nan"), 9)
    assert verdict_of(above(unknown)) == verdict_of(below(unknown)) == "unclear"


def test_claims_are_a_table_with_their_number_and_the_version_of_their_criterion() -> None:
    criterion = criteria()["collapse"]
    record = claims_record([Claim.by(criterion, "A title", "holds", "found so", POSITIVE)])
    (row,) = record.table.to_dict("records")
    assert (row["claim"], row["verdict"], row["value"], row["low"], row["high"], row["n"]) == (
        *("collapse", "holds", 2.0, 1.0, 3.0),
        9,
    )
    assert (row["criterion"], row["version"]) == (criterion.rule, criterion.version)


def test_an_effect_beyond_all_controls_is_met_and_one_below_their_median_is_contradicted() -> None:
    controls = torch.linspace(-1, 1, 20)
    assert beyond_all(1.5, controls) == (True, False) and beyond_all(-0.5, controls) == (False, True)
    assert beyond_all(0.5, controls) == (False, False)


def test_few_controls_decide_nothing() -> None:
    assert beyond_all(9.0, torch.zeros(18)) == beyond_all(-9.0, torch.zeros(18)) == (False, False)
    assert beyond_all(9.0, torch.zeros(19)) == (True, False)  # 1 in 20: just 5 %
