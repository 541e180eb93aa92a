"""A verdict follows from intervals alone: an interval over the bound decides nothing."""

import pytest

from regap.analyses.claims.claim import Claim, above, below, claims_record, verdict_of
from regap.analyses.claims.collapse import _change
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


def test_claims_are_a_table_with_their_number() -> None:
    record = claims_record([Claim("collapse", "A title", "holds", "a criterion", "found so", POSITIVE)])
    (row,) = record.table.to_dict("records")
    assert (row["claim"], row["verdict"], row["value"], row["low"], row["high"], row["n"]) == (
        *("collapse", "holds", 2.0, 1.0, 3.0),
        9,
    )


def test_a_fall_below_nothing_is_told_as_a_rise() -> None:
    assert _change(Estimate(0.4, 0.1, 0.7, 9)) == "falls by 0.4 [0.1, 0.7]"
    assert _change(Estimate(-0.376, -0.6, 0.1, 9)) == "rises by 0.376 [-0.1, 0.6]"
