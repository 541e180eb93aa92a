"""Gates never fall, stay between 0 and 1, and a threshold keeps to its budget however few signals there are."""

from typing import get_args

import pytest
import torch

from regap.interventions.edits.gate import Gate, GateKind, budget_threshold, refusal_thresholds

SIGNAL = torch.linspace(-9, 9, 1001, dtype=torch.float64)


@pytest.mark.parametrize("kind", get_args(GateKind))
@pytest.mark.parametrize("width", [0.01, 1.0, 5.0])
def test_a_gate_rises_from_0_to_1_about_its_threshold(kind: GateKind, width: float) -> None:
    opened = Gate(kind, 0.5, width)(SIGNAL)
    assert bool((opened.diff() >= 0).all())
    assert 0 <= float(opened.min()) < 2e-3 and 0.998 < float(opened.max()) <= 1
    assert bool((opened[SIGNAL > 0.5] >= 0.5).all()) and bool((opened[SIGNAL < 0.5] <= 0.5).all())


@pytest.mark.parametrize("kind", get_args(GateKind))
def test_at_the_threshold_a_hard_gate_is_closed_and_the_others_half_open(kind: GateKind) -> None:
    assert float(Gate(kind, 2.0)(torch.tensor([2.0]))) == (0.0 if kind == "hard" else 0.5)


@pytest.mark.usefixtures("unchecked")
def test_a_gate_that_is_none_is_refused() -> None:
    unknown: object = "soft"
    with pytest.raises(ValueError, match="gate is 'soft'; choose one of hard, sigmoid, line"):
        Gate(unknown, 0.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"gate width is 0\.0; it must be above 0"):
        Gate("line", 0.0, 0.0)


@pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 21, 30, 101])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.5])
def test_a_hard_gate_opens_for_at_most_the_budget_and_nearly_all_of_it(count: int, share: float) -> None:
    signal = torch.randn(count, generator=torch.Generator().manual_seed(count)).double()
    opened = int(Gate("hard", budget_threshold(signal, share))(signal).sum())
    assert share * count - 1 - share <= opened <= share * count


def test_tied_signals_do_not_break_the_budget() -> None:
    signal = torch.tensor([0.0] * 5 + [1.0] * 15, dtype=torch.float64)
    assert not Gate("hard", budget_threshold(signal, 0.5))(signal).any()


def slowest_threshold(signal: torch.Tensor, closed: torch.Tensor, opened: torch.Tensor, share: float) -> int:
    """How many of the highest signals the gate may open for, by trying each number in turn."""
    best, allowed = 0, max(int(share * len(signal) + 1e-9), int(closed.sum()))
    ranked = signal.sort(descending=True).values
    for count in range(len(signal) + 1):
        limit = ranked[count - 1] if count else torch.inf
        if int(torch.where(signal >= limit, opened, closed).sum()) > allowed:
            break
        best = int((signal >= limit).sum()) if count else 0
    return best


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("ties", [False, True])
def test_refusal_thresholds_open_as_far_as_refusals_allow(share: float, ties: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(40, generator=generator).double()
    signal = (2 * signal).round() if ties else signal
    closed = torch.rand(40, generator=generator) < 0.05
    opened = torch.rand(6, 40, generator=generator) < torch.linspace(0, 1, 6)[:, None]
    limits = refusal_thresholds(signal, closed, opened, share)
    for row, limit in zip(opened, limits, strict=True):
        is_open = signal > limit
        refused = int(torch.where(is_open, row, closed).sum())
        assert refused <= max(int(share * 40 + 1e-9), int(closed.sum()))
        assert int(is_open.sum()) == slowest_threshold(signal, closed, row, share)
