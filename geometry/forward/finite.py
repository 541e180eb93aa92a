"""States and logits that are not finite are errors: no comparison of them means anything."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from regap.errors import ModelError


def check_finite(name: str, values: Tensor, told: str, what: str = "states") -> None:
    """Raise ModelError if a value is infinite or NaN; `told` says what the model runs under, as `under` returns it."""
    if not bool(values.isfinite().all()):
        raise ModelError(not_finite(name, told, what))


def not_finite(name: str, told: str, what: str = "logits") -> str:
    """Return the message for numbers that a model's number format does not hold."""
    remedy = "load it with dtype float32 or bfloat16 (--dtype)"
    if told:
        remedy = "lower its strength, or load the model with dtype float32 or bfloat16 (--dtype)"
    return f"model {name}: its {what} are not finite {told or 'without any edit'}; {remedy}"


def under(edits: Sequence[Any]) -> str:
    """Return "under ..." with the edits in words, for messages; empty if there are none."""
    shown = "; ".join(repr(edit)[:160] for edit in edits[:3])
    return f"under {shown}" if shown else ""
