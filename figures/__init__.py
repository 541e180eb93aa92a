"""Figures drawn from tables, without a model: `plots` holds one figure a file, the others gather and show them."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

PLOTS = f"{__name__}.plots"


def __getattr__(name: str) -> Any:
    """Import a figure when it is first used: `regap.figures.frontier`."""
    if name.startswith("_") or find_spec(f"{PLOTS}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{PLOTS}.{name}")
