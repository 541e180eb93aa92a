"""Gates: functions from a signal to a share of the full strength, between 0 and 1."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

GateKind = Literal["hard", "sigmoid", "line"]


@dataclass(frozen=True)
class Gate:
    """A non-decreasing function of the signal: 0 well below the threshold, 1 well above it."""

    kind: GateKind
    """hard: a step at the threshold; sigmoid: a smooth step; line: a clipped line, 0.5 at the threshold."""
    threshold: float
    """In the units of the signal."""
    width: float = 1.0
    """The range of the signal over which the gate opens; not used by the hard gate."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(GateKind):
            raise ValueError(f"gate is {self.kind!r}; choose one of {', '.join(get_args(GateKind))}")
        if not self.width > 0:
            raise ValueError(f"gate width is {self.width}; it must be above 0")

    def __call__(self, signal: Float[Tensor, " prompt"]) -> Float[Tensor, " prompt"]:
        """Return how far the gate is open for each signal, in [0, 1]."""
        above = (signal - self.threshold) / self.width
        if self.kind == "hard":
            return (above > 0).to(signal.dtype)
        return torch.sigmoid(4 * above) if self.kind == "sigmoid" else (above + 0.5).clamp(0, 1)


def budget_threshold(signal: Float[Tensor, " prompt"], share: float) -> float:
    """Return a threshold such that at most this share of the signals is above it.

    It lies midway between two neighbouring signals, so that rounding does not move a signal across it.
    """
    closed = torch.quantile(signal, 1 - share, interpolation="higher")
    above = signal[signal > closed]
    return float((closed + above.min()) / 2 if len(above) else closed)


def refusal_thresholds(
    signal: Float[Tensor, " prompt"],
    closed: Bool[Tensor, " prompt"],
    opened: Bool[Tensor, "correction prompt"],
    share: float,
) -> Float[Tensor, " correction"]:
    """Return, for each correction, the lowest threshold of a hard gate with at most this share of refused prompts.

    For harmless prompts: signal; closed and opened: True if the prompt is refused with the gate closed, and open. No
    higher threshold refuses more than the share either. If more than the share is refused already with the gate
    closed, the gate may open as long as refusals do not increase. Thresholds lie midway between neighbouring signals.
    """
    order = signal.argsort(descending=True)
    ranked = signal[order]
    change = opened[:, order].long() - closed[order].long()
    refused = torch.cat([torch.zeros_like(change[:, :1]), change.cumsum(1)], 1) + int(closed.sum())
    allowed = max(int(share * len(signal) + 1e-9), int(closed.sum()))
    margin = (ranked[0] - ranked[-1]).clamp_min(1.0)
    edges = torch.cat([ranked[:1] + margin, ranked, ranked[-1:] - margin])
    between = torch.cat([torch.tensor([True]), ranked[1:] < ranked[:-1], torch.tensor([True])])
    kept = (refused <= allowed).long().cumprod(1).bool() & between
    opens = (kept * torch.arange(kept.shape[1])).amax(1)  # the last place kept
    return (edges[opens] + edges[opens + 1]) / 2
