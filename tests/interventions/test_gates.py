"""Gates never fall, stay between 0 and 1, and a threshold keeps to its budget however few signals there are."""

from typing import get_args

import pytest
import torch

from regap.interventions.gates import Gate, Kind, budget_threshold

SIGNAL = torch.linspace(-9, 9, 1001, dtype=torch.float64)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("width", [0.01, 1.0, 5.0])
def test_a_gate_rises_from_0_to_1_about_its_threshold(kind: Kind, width: float) -> None:
    opened = Gate(kind, 0.5, width)(SIGNAL)
    assert bool((opened.diff() >= 0).all())
    assert 0 <= float(opened.min()) < 2e-3 and 0.998 < float(opened.max()) <= 1
    assert bool((opened[SIGNAL > 0.5] >= 0.5).all()) and bool((opened[SIGNAL < 0.5] <= 0.5).all())


@pytest.mark.parametrize("kind", get_args(Kind))
def test_at_the_threshold_a_hard_gate_is_closed_and_the_others_half_open(kind: Kind) -> None:
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
