"""Gates: from a signal to a share of the full strength, between 0 and 1."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

Kind = Literal["hard", "sigmoid", "line"]


@dataclass(frozen=True)
class Gate:
    """Closed well below the threshold, open well above it; never falling."""

    kind: Kind
    """hard: a step at the threshold; sigmoid: a smooth one; line: clipped, half open at the threshold."""
    threshold: float
    """In the units of the signal."""
    width: float = 1.0
    """Over how much of the signal the gate opens; the hard gate does not use it."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"gate is {self.kind!r}; choose one of {', '.join(get_args(Kind))}")
        if not self.width > 0:
            raise ValueError(f"gate width is {self.width}; it must be above 0")

    def __call__(self, signal: Float[Tensor, " prompt"]) -> Float[Tensor, " prompt"]:
        """Return how far the gate is open for each signal."""
        above = (signal - self.threshold) / self.width
        if self.kind == "hard":
            return (above > 0).to(signal.dtype)
        return torch.sigmoid(4 * above) if self.kind == "sigmoid" else (above + 0.5).clamp(0, 1)


def budget_threshold(signal: Float[Tensor, " prompt"], share: float) -> float:
    """Return a threshold that at most this share of these signals is above.

    It lies midway between the signals on its two sides, so that rounding moves none of them across it.
    """
    closed = torch.quantile(signal, 1 - share, interpolation="higher")
    above = signal[signal > closed]
    return float((closed + above.min()) / 2 if len(above) else closed)
