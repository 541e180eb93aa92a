"""One thing that must be true of a model, and how two results are compared."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from regap.geometry.models.model import Model

Kind = Literal["text", "image"]
TOLERANCE = 1e-3
"""Largest difference, relative to the largest number compared, that rounding may make; 50 times that below float32."""


@dataclass(frozen=True)
class Check:
    """One thing that must be true, whether it is, and what was measured."""

    name: str
    passed: bool
    detail: str


def same(name: str, one: Tensor, other: Tensor) -> Check:
    """Return whether two answers are equal token for token."""
    equal = torch.equal(one, other)
    return Check(name, equal, f"{one.numel()} tokens equal" if equal else "tokens differ")


def close(model: Model, name: str, one: Tensor, other: Tensor) -> Check:
    """Return whether two results of a model differ by rounding alone."""
    largest = float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))
    allowed = TOLERANCE if model.hf.dtype == torch.float32 else 50 * TOLERANCE
    return Check(
        name, largest <= allowed, f"largest relative difference {largest:.1e}, allowed {allowed:.0e}"
    )
