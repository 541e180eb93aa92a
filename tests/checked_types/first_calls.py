"""Types and shapes are checked in the first calls of each function in each test, and then no more.

A run of all analyses calls the same few functions a million times with the same kinds of arguments. Checking them all
takes as long as the tests themselves, and what is wrong is wrong in the first calls.
"""

import sys
from collections import Counter
from collections.abc import Callable
from functools import wraps
from operator import attrgetter
from typing import Any

from beartype import beartype

CALLS = 64
"""Checks of one function in one test. A call with a checked result counts twice."""
_COUNTED: Counter[tuple[str, str]] = Counter()
_MADE: Counter[tuple[str, str]] = Counter()
_RESTING: list[Any] = []


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function under beartype; jaxtyping hands over one for arguments and one for the returned value."""
    name, strict = (function.__module__, function.__qualname__), None
    if "<locals>" in name[1]:
        # Such a function is made anew, and handed over, whenever the one around it is called.
        _MADE[name] += 1
        if _MADE[name] > CALLS:
            return function

    @wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal strict
        _COUNTED[name] += 1
        if _COUNTED[name] == CALLS:
            _rest(*name)
        # Made when it is first called: making it takes longer than most functions, and most are never called.
        strict = beartype(function) if strict is None else strict
        return strict(*args, **kwargs)

    return counted


def check_again() -> None:
    """Count from the beginning: the next calls of every function are checked."""
    _COUNTED.clear()
    _MADE.clear()
    while _RESTING:
        vars(_RESTING.pop()).pop("__no_type_check__", None)


def _rest(module: str, qualname: str) -> None:
    """Tell jaxtyping to call the function as it is; one that is made inside another cannot be found here."""
    owner, _, last = qualname.rpartition(".")
    try:
        place = attrgetter(owner)(sys.modules[module]) if owner else sys.modules[module]
        found: Any = vars(place)[last]
    except (AttributeError, KeyError, TypeError):
        return
    found = getattr(found, "__func__", getattr(found, "fget", getattr(found, "func", found)))
    while callable(found) and not isinstance(found, type):  # through decorators, such as no-gradient ones
        vars(found)["__no_type_check__"] = True
        _RESTING.append(found)
        found = getattr(found, "__wrapped__", None)
