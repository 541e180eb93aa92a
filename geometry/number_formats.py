"""In how few bytes a tensor keeps every bit: what a model computed in 16 bits needs no 32 on disk."""

import torch
from jaxtyping import Float
from torch import Tensor

NARROW = (torch.bfloat16, torch.float16)
"""Tried in this order."""


def narrowest(numbers: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return equal numbers in the first 16-bit format that holds each of them exactly; float32 if none does.

    The numbers are finite float32. The first of them are tried before all are, since they mostly decide.
    """
    for narrow in NARROW:
        if _holds(narrow, numbers[:1]) and _holds(narrow, numbers):
            return numbers.to(narrow)
    return numbers


def _holds(narrow: torch.dtype, numbers: Tensor) -> bool:
    return torch.equal(numbers.to(narrow).to(numbers.dtype), numbers)
