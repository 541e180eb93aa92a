"""The claim about ReGap follows from intervals alone; a gate's answers are those of its two ends."""

import pytest
import torch

from regap.analyses.calibration.choice import ends
from regap.analyses.claims.regap_against_fixed import RIVALS, paired, simultaneous
from regap.geometry.estimates import estimate
from regap.interventions.edits.recipe import Recipe, Removal


def test_intervals_that_hold_together_are_wider() -> None:
    draws = torch.cat(
        [torch.zeros(1), torch.randn(2000, generator=torch.Generator().manual_seed(0))]
    ).double()
    one, together = estimate(draws, 9), simultaneous(draws, (9, 9))
    assert together.low < one.low < one.high < together.high
    assert together.high == pytest.approx(2.394, abs=0.15)  # the normal quantile at 1 - 0.05 / 6


def test_the_ends_of_a_gate_keep_what_a_single_pass_removes_early() -> None:
    early, later = Removal(1, 0.5), Removal(3, 1.0)
    single = Recipe("z_after", early, (2, 3), later, "single")
    assert ends(single) == ((early,), (early, later))
    assert ends(Recipe("z_after", early, (2, 3), later)) == ((), (later,))
    assert ends(Recipe("z_after", Removal(1, 0.0), (2, 3), later, "single")) == ((), (later,))


def test_every_rival_is_a_choice_among_its_own_recipes() -> None:
    early, later = Removal(1, 0.5), Removal(3, 1.0)
    recipes = {
        "gate_rho": Recipe("rho", early, (2, 3), later),
        "gate_z_before": Recipe("z_before", early, (2, 3), later),
        "gate_z_after": Recipe("z_after", early, (2, 3), later),
        "single_pass": Recipe("z_after", early, (2, 3), later, "single"),
    }
    for name, allowed in RIVALS.items():
        assert [each for each, recipe in recipes.items() if allowed(recipe)] == (
            [name] if name != "regap" else list(recipes)
        )


def test_a_difference_that_no_resample_shows_is_bounded_by_the_number_of_clusters() -> None:
    same = torch.zeros(101, dtype=torch.float64)
    many, few = (paired(same, (200, clusters)) for clusters in (200, 20))
    assert many.low == -many.high and few.high > many.high > 0
    assert few.high == pytest.approx(0.168, abs=1e-3)
