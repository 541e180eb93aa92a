"""One check of a model, and comparisons of two results."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from regap.geometry.models.model import Model

Kind = Literal["text", "image"]
TOLERANCE = 1e-3
"""Largest difference allowed for rounding, relative to the largest value; 50 times that in 16 bits."""


@dataclass(frozen=True)
class Check:
    """One check, whether it passed, and what was measured."""

    name: str
    passed: bool
    detail: str
    noted: bool = False
    """True for a fact to keep in mind, although nothing is wrong."""


def same(name: str, one: Tensor, other: Tensor) -> Check:
    """Return a check that two answers are equal token for token."""
    equal = torch.equal(one, other)
    return Check(name, equal, f"{one.numel()} tokens equal" if equal else "tokens differ")


def close(model: Model, name: str, one: Tensor, other: Tensor) -> Check:
    """Return a check that two results of a model differ only by rounding."""
    largest = float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))
    allowed = TOLERANCE if model.hf.dtype == torch.float32 else 50 * TOLERANCE
    return Check(
        name, largest <= allowed, f"largest relative difference {largest:.1e}, allowed {allowed:.0e}"
    )
