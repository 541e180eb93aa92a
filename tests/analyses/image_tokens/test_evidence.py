"""A gate keeps every budget that it is given, and refuses as many harmful prompts as these leave."""

import torch

from regap.analyses.calibration.budgets import Budgets
from regap.analyses.image_tokens.evidence import (
    Early,
    EarlyEvidence,
    best_alone,
    best_of,
)

HALF = Early(1, 0.5)


def evidence(early: Early = HALF, closed: torch.Tensor | None = None, contrasts: int = 0) -> EarlyEvidence:
    """Ten harmless at signals 0 to 9, ten harmful at 5 to 14, contrasts at 10 and above; an open gate refuses all."""
    signal = torch.cat([torch.arange(10.0), torch.arange(5.0, 15.0), 10 + torch.arange(float(contrasts))])
    count = len(signal)
    closed = torch.zeros(count).bool() if closed is None else closed
    harmful = (torch.arange(count) >= 10) & (torch.arange(count) < 20)
    opened = torch.stack([torch.ones(count).bool(), closed])  # the second late correction does nothing
    before = torch.where(harmful, signal - 20, signal)  # the removal moves harmful prompts alone
    return EarlyEvidence(early, before, signal, closed, opened, harmful, torch.arange(count) >= 20)


def test_a_gate_on_self_rectification_reads_the_change_alone() -> None:
    found = evidence(contrasts=4).gated(Budgets(0.1, 0.25), signal="rho")
    assert found.signal == "rho" and found.on_harmful == 1 and 0 <= found.threshold < 20


def test_a_threshold_stays_within_the_budget_of_harmless_prompts() -> None:
    found = evidence().gated(Budgets(0.1))
    assert found.threshold == 8.5 and found.on_harmful == 0.6


def test_contrasts_raise_the_threshold_until_few_enough_are_refused() -> None:
    """Of four contrasts at 10 to 13 one may be refused: the gate opens above 12, for two harmful prompts."""
    found = evidence(contrasts=4).gated(Budgets(0.1, 0.25))
    assert found.threshold == 12.5 and found.on_harmful == 0.2
    assert (
        evidence(contrasts=4).gated(Budgets(0.1)).threshold == 8.5
    )  # without a budget of theirs they count nothing


def test_a_late_correction_that_does_nothing_refuses_nothing() -> None:
    one = evidence()
    assert one.gated(Budgets(0.1), late=1).on_harmful == 0
    assert best_of([one.gated(Budgets(0.1), late=late) for late in (1, 0)]).late == 0


def test_among_equals_the_weakest_removal_is_chosen() -> None:
    gated = [evidence(Early(2, strength)).gated(Budgets(0.1)) for strength in (1.0, 0.25, 0.5)]
    assert best_of(gated).early == Early(2, 0.25)


def test_a_removal_alone_must_keep_both_budgets() -> None:
    refused = torch.zeros(24).bool()
    refused[10:20] = True
    good, mild = evidence(Early(0, 1.0), refused, contrasts=4), evidence(Early(1, 1.0), contrasts=4)
    assert best_alone([mild, good], Budgets(0.1, 0.1)) == Early(0, 1.0)
    refused[20:22] = True
    harsh = evidence(Early(0, 1.0), refused, contrasts=4)
    assert best_alone([mild, harsh], Budgets(0.1, 0.1)) == Early(1, 1.0)
    assert best_alone([harsh], Budgets(0.1, 0.1)) is None
    assert best_alone([harsh], Budgets(0.1)) == Early(0, 1.0)
