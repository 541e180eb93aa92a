"""A claim about models: held by more than half of them, and by their mean; rarely in worlds where it is false."""

from collections import Counter

import numpy as np
import pytest

from regap.analyses.across_models.claims import (
    ModelClaim,
    bound_of,
    criterion,
    decide,
    over_all_models,
    scaled,
)
from regap.analyses.across_models.statistics import over_models
from regap.analyses.claims.claim import ClaimVerdict
from regap.analyses.claims.criteria import criteria
from regap.analyses.claims.drift_predicts import Across
from regap.geometry.estimates import Estimate
from regap.geometry.states.store import digest_of

WRITTEN = {1: "5a4abadd707db3c369c1f19f4eb339a0"}


def claims(values: list[float], verdict: str = "holds", claim: str = "collapse") -> list[ModelClaim]:
    return [
        ModelClaim(
            f"model {number}", claim, "last token", verdict, Estimate(value, value - 0.1, value + 0.1, 100)
        )
        for number, value in enumerate(values)
    ]


def told(found: list[ModelClaim]) -> ClaimVerdict:
    return over_all_models(found[0].claim, "last token", found).verdict


def test_a_changed_criterion_has_another_version() -> None:
    assert WRITTEN[criterion().version] == digest_of(criterion().stored)
    for size in criterion().effects.values():
        assert f"{size:g}" in criterion().rule


def test_every_claim_has_an_effect_size() -> None:
    assert {claim: bound_of(claim) for claim in criteria()} == {
        "collapse": 0.5,
        "drift_predicts": 0.1,
        "drift_causes": 0.5,
        "self_rectification": 0.55,
        "regap": -0.02,
    }


def test_a_claim_takes_eight_models_their_verdicts_and_their_mean() -> None:
    far = [0.7, 0.72, 0.74, 0.69, 0.71, 0.73, 0.7, 0.75]
    assert told(claims(far)) == "holds"
    assert told(claims(far[:7])) == "unclear"
    assert told(claims(far, "unclear")) == "unclear"  # the mean without the controls that verdicts contain
    assert told(claims(far, "does not hold")) == "does not hold"
    assert told(claims([0.3, 0.32, 0.29, 0.31, 0.33, 0.3, 0.28, 0.3], "unclear")) == "does not hold"
    assert told(claims([0.2, 0.9] * 4)) == "unclear"


def test_a_gain_of_regap_lies_below_its_effect_size() -> None:
    lower = [-0.1, -0.09, -0.11, -0.08, -0.12, -0.1, -0.07, -0.13]
    assert told(claims(lower, claim="regap")) == "holds"
    assert told(claims([-one for one in lower], "unclear", "regap")) == "does not hold"


def test_that_drift_predicts_takes_both_correlations_over_models() -> None:
    verdicts, mean = Counter({"holds": 9}), over_models([0.4] * 8 + [0.41])
    both = Across(9, {"d_prime": (-0.9, 0.001), "attack_success": (0.8, 0.01)})
    one = Across(9, {"d_prime": (-0.9, 0.001), "attack_success": (0.2, 0.6)})
    other = Across(9, {"d_prime": (-0.9, 0.001), "attack_success": (-0.8, 0.01)})
    found = [decide("drift_predicts", 9, verdicts, mean, each) for each in (both, one, other)]
    assert found == ["holds", "unclear", "does not hold"]


def test_models_without_a_gap_have_no_number_and_count_by_their_verdict() -> None:
    nothing = scaled(Estimate(0.1, 0.0, 0.2, 50), 0.0)
    found = claims([0.7, 0.72, 0.74, 0.69, 0.71, 0.73, 0.7, 0.75], claim="drift_causes")
    found.append(ModelClaim("flat", "drift_causes", "last token", "unclear", nothing))
    over = over_all_models("drift_causes", "last token", found)
    assert over.found.mean.n == 8 and over.verdicts == {"holds": 8, "unclear": 1} and over.verdict == "holds"
    assert scaled(Estimate(0.3, 0.1, 0.4, 50), 0.5).value == pytest.approx(0.6)
    alone = over_all_models("drift_causes", "last token", 9 * found[-1:])
    assert (
        alone.verdict == "unclear"
        and alone.found.mean.value != alone.found.mean.value
        and alone.row["n"] == 9
    )


def test_models_whose_mean_is_at_the_effect_size_rarely_hold() -> None:
    """Families of 12 models at the effect size, all called "holds": 5 % of them at most; 0.2 above it 80 % or more."""
    drawn = np.random.default_rng(0).normal(0.5, 0.15, (300, 12))
    false = sum(told(claims(row.tolist())) == "holds" for row in drawn) / 300
    true = sum(told(claims((row + 0.2).tolist())) == "holds" for row in drawn) / 300
    assert false <= 0.05 and true >= 0.8
