"""Wrong shapes are refused in the first calls of each test, in functions, methods and behind decorators."""

from typing import Any

import pytest
import torch
from first_calls import CALLS, check_again

from regap.geometry.forward.capture import capture
from regap.interventions.edits.gate import Gate, budget_threshold
from regap.interventions.edits.signals import Traces


def refused(function: Any, *args: Any) -> bool:
    """True if the call fails by its types."""
    try:
        function(*args)
    except Exception as error:
        return type(error).__name__ == "TypeCheckError"
    return False


WRONG = [
    (budget_threshold, (torch.zeros(2, 2), 0.5)),
    (Gate("hard", 0.0), (torch.zeros(2, 2),)),
    (Traces, (torch.zeros(2, 3), torch.zeros(3, 2))),
]


@pytest.mark.parametrize("function, args", WRONG)
def test_the_first_calls_are_checked_and_later_ones_are_not(function: Any, args: tuple) -> None:
    assert all(refused(function, *args) for _ in range(CALLS // 2))
    for _ in range(CALLS):
        refused(function, *args)
    assert not refused(function, *args)
    check_again()
    assert refused(function, *args)


@pytest.mark.parametrize("function, args", WRONG)
def test_each_test_begins_anew(function: Any, args: tuple) -> None:
    assert refused(function, *args)


def test_a_function_behind_a_decorator_is_checked() -> None:
    assert refused(capture, "no model", None, 3)
