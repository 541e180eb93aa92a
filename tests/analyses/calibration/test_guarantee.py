"""With a guarantee few calibration sets have a true rate above the budget; without one most of them do."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm

from regap.analyses.calibration.choice import Evidence, Trial
from regap.analyses.calibration.guarantee import (
    Guarantee,
    allowed_refusals,
    divided,
    guaranteed,
    prompts_needed,
)
from regap.interventions.edits.gate import Gate, refusal_thresholds
from regap.interventions.edits.recipe import Recipe, Removal
from regap.interventions.edits.signals import weights_of

FIX = Removal(1, 1.0)
RECIPE = Recipe("z_before", Removal(0, 1.0), (1,), FIX)
SETS, CONFIDENCE = 200, 0.9


def evidence(z: torch.Tensor, harmful: int = 0, clusters: tuple[str, ...] = ()) -> Evidence:
    """Prompts that are refused exactly where they are corrected; z is the same at both layers."""
    bad = torch.arange(len(z)) < harmful
    refused = {(): torch.zeros(len(z), dtype=torch.bool), (FIX,): torch.ones(len(z), dtype=torch.bool)}
    both = torch.stack([z, z], 1).double()
    names = clusters or tuple(map(str, range(len(z))))
    return Evidence(bad, names, {(): both, (Removal(0, 1.0),): both}, refused)


def trial(z: torch.Tensor) -> Trial:
    return Trial(
        RECIPE, Gate("hard", 0.0), weights_of("z_before", 1), torch.zeros(len(z), dtype=torch.bool), 0.0, 0.0
    )


@pytest.mark.parametrize(
    ("prompts", "budget"), [(150, 0.05), (150, 0.02), (300, 0.01), (45, 0.05), (44, 0.05)]
)
def test_the_allowed_refusals_are_those_of_clopper_and_pearson(prompts: int, budget: float) -> None:
    found = allowed_refusals(prompts, budget, CONFIDENCE)
    for refused in range(12):
        upper = binomtest(refused, prompts).proportion_ci(1 - 2 * (1 - CONFIDENCE), "exact").high
        assert (refused <= found) == (upper <= budget), refused


@pytest.mark.parametrize("budget", [0.01, 0.02, 0.05])
def test_the_fewest_prompts_are_those_of_which_none_may_be_refused(budget: float) -> None:
    least = prompts_needed(budget, CONFIDENCE)
    assert allowed_refusals(least, budget, CONFIDENCE) == 0
    assert allowed_refusals(least - 1, budget, CONFIDENCE) == -1
    assert least == math.ceil(math.log(0.1) / math.log(1 - budget))


@pytest.mark.parametrize("budget", [0.01, 0.02, 0.05])
def test_few_calibration_sets_have_a_true_rate_above_the_budget(budget: float) -> None:
    """The true rate of a threshold on standard normal signals is known."""
    generator = torch.Generator().manual_seed(int(1000 * budget))
    above = {"guaranteed": 0, "in the sample": 0}
    for _ in range(SETS):
        z = torch.randn(300, generator=generator)
        found, told = guaranteed(trial(z), evidence(z), budget, CONFIDENCE)
        assert told.is_given and told.refused == told.allowed
        above["guaranteed"] += norm.sf(found.gate.threshold) > budget
        none, every = torch.zeros(300, dtype=torch.bool), torch.ones(1, 300, dtype=torch.bool)
        above["in the sample"] += norm.sf(float(refusal_thresholds(z, none, every, budget)[0])) > budget
    assert above["guaranteed"] / SETS <= 1 - CONFIDENCE + 0.04  # two standard errors of 200 sets
    assert above["in the sample"] / SETS > 0.3  # the control: the budget met in the sample says little


def test_too_few_prompts_change_nothing_and_say_how_many_it_takes() -> None:
    z = torch.linspace(-1, 1, 20)
    found, told = guaranteed(trial(z), evidence(z), 0.01, CONFIDENCE)
    assert found.gate.threshold == 0.0 and not told.is_given and told.allowed == -1
    assert "10 of 20" in str(told) and "takes at least 230 such prompts" in str(told)


def test_half_of_the_harmless_requests_choose_nothing_and_requests_stay_whole() -> None:
    clusters = ("a", "a", *(f"h{place // 2}" for place in range(38)))
    whole = evidence(torch.randn(40, generator=torch.Generator().manual_seed(0)), 2, clusters)
    choosing, held = divided(whole, seed=0)
    assert not set(choosing.clusters) & set(held.clusters) and not bool(held.harmful.any())
    assert int(choosing.harmful.sum()) == 2 and len(set(held.clusters)) == round(19 / 2)
    assert sorted([*(choosing.rows or ()), *(held.rows or ())]) == list(range(40))
    for part in (choosing, held):
        assert torch.equal(part.coordinates[()], whole.coordinates[()][list(part.rows or ())])
    assert divided(whole, seed=0)[1].clusters == held.clusters != divided(whole, seed=1)[1].clusters


def test_refusals_with_the_gate_closed_count_too() -> None:
    z = torch.linspace(-1, 1, 100)
    given = evidence(z)
    spoiled = replace(given, refused={**given.refused, (): torch.arange(100) < 10})
    _, told = guaranteed(trial(z), spoiled, 0.05, CONFIDENCE)
    assert told.refused >= 10 and not told.is_given


def test_what_is_guaranteed_is_said() -> None:
    assert str(Guarantee(0.05, 0.9, 150, 3)).endswith("within 5.0% with 90% confidence")
    assert "no guarantee of 5.0%" in str(Guarantee(0.05, 0.9, 150, 7))
    assert np.isclose(
        float(str(Guarantee(0.05, 0.9, 150, 7)).split("but of ")[1].split("%")[0]), 7.7, atol=0.1
    )
