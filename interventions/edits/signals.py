"""Signals: one number per input, from coordinates along the refusal direction before and after a probe correction.

Every signal is linear in these coordinates, so that two rows of weights define it. Our operationalisation; the paper's
abstract only names self-rectification.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ModelError

Signal = Literal["rho", "z_before", "z_after", "growth", "fitted_before", "fitted_after", "fitted"]
FITTED: tuple[Signal, ...] = ("fitted_before", "fitted_after", "fitted")
"""Signals whose weights are fitted on calibration pairs; the name of any other fixes its weights."""
Passes = Literal["probe", "single"]
"""probe: z is read in one-token passes before the answer; single: z is read in the answer's own pass."""
Weights = Float[Tensor, "2 layer"]
"""Weights of z before (row 0) and after the probe (row 1), at each read layer."""


@dataclass(frozen=True, eq=False)
class Traces:
    """Coordinates along the refusal direction at the read layers, before and after a correction."""

    before: Float[Tensor, "prompt layer"]
    after: Float[Tensor, "prompt layer"]

    def __post_init__(self) -> None:
        finite = torch.isfinite(self.before).all(1) & torch.isfinite(self.after).all(1)
        if not bool(finite.all()):
            raise ModelError(
                f"residual streams of {int((~finite).sum())} of {len(finite)} prompts hold NaN or infinity at the "
                "read layers; run the model with --dtype float32 or bfloat16"
            )

    def signal(self, kind: Signal, weights: Weights | None = None) -> Float[Tensor, " prompt"]:
        """Return the signal of every prompt; a fitted signal needs its weights."""
        return self.weighted(weights_of(kind, self.before.shape[1], weights))

    def weighted(self, weights: Weights) -> Float[Tensor, " prompt"]:
        """Return the weighted sum of z before and after."""
        return self.before.double() @ weights[0].double() + self.after.double() @ weights[1].double()


def weights_of(kind: Signal, layers: int, fitted: Weights | None = None) -> Weights:
    """Return the weights of z before and after at this number of read layers, float64.

    rho: the mean change (self-rectification). z_before, z_after: the means. growth: z after at the last read layer
    minus z after at the first. fitted: any weights; fitted_before, fitted_after: weights in one row, 0 in the other.
    """
    if kind not in get_args(Signal):
        raise ValueError(f"signal is {kind!r}; choose one of {', '.join(get_args(Signal))}")
    if kind in FITTED:
        return _checked(kind, layers, fitted)
    if fitted is not None:
        raise ValueError(f"signal {kind} has fixed weights; leave weights out, or choose fitted")
    if kind == "growth" and layers < 2:
        raise ValueError("signal growth is a difference between two read layers; give at least two")
    weights, mean = torch.zeros(2, layers, dtype=torch.float64), 1 / layers
    if kind == "growth":
        weights[1, 0], weights[1, -1] = -1.0, 1.0
        return weights
    weights[0] = {"rho": -mean, "z_before": mean, "z_after": 0.0}[kind]
    weights[1] = 0.0 if kind == "z_before" else mean
    return weights


def _checked(kind: Signal, layers: int, fitted: Weights | None) -> Weights:
    if fitted is None or fitted.shape[1] != layers:
        raise ValueError(f"signal {kind} needs weights of shape [2, {layers}], a column for each read layer")
    if not bool(torch.isfinite(fitted).all()):
        raise ValueError(f"weights of signal {kind} hold NaN or infinity; fit them on finite coordinates")
    unused = {"fitted_before": fitted[1], "fitted_after": fitted[0]}.get(kind)
    if unused is not None and bool(unused.any()):
        row = "after" if kind == "fitted_before" else "before"
        raise ValueError(f"signal {kind} has weights for z {row}; set them to 0, or choose fitted")
    return fitted.double()
