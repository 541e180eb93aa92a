"""A recipe: all choices of a ReGap in plain values; its weights and its gate are fitted afterwards."""

from dataclasses import dataclass
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor

from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.prompts.positions import Positions
from regap.interventions.edits.gate import Gate, GateKind
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift, fixed_correction
from regap.interventions.edits.signals import FITTED, Passes, Signal
from regap.interventions.edits.site import Site

DriftPart = Literal["D", "D_along", "D_across"]


@dataclass(frozen=True, order=True)
class Removal:
    """Removal of a multiple of one part of the drift at one layer."""

    layer: int
    strength: float
    part: DriftPart = "D"

    def __post_init__(self) -> None:
        if self.part not in get_args(DriftPart):
            raise ValueError(f"part is {self.part!r}; choose one of {', '.join(get_args(DriftPart))}")

    def __str__(self) -> str:
        return f"{self.strength:g} {self.part} at block {self.layer}"

    def shift(self, drift: Drift, refusal: Direction, positions: Positions = "last") -> Shift:
        """Return the removal as an edit."""
        removed = parts_of(drift, refusal)[self.part]
        return fixed_correction(removed, Site((self.layer,), positions), self.strength)


def parts_of(drift: Drift, refusal: Direction) -> dict[DriftPart, Drift]:
    """Return the drift and its parts along and across the refusal direction, by name."""
    return {"D": drift, "D_along": drift.along(refusal), "D_across": drift.across(refusal)}


@dataclass(frozen=True)
class Recipe:
    """The layers that are edited and read, the signal, the gate, and the strength of the correction."""

    signal: Signal
    probe: Removal
    """Its layer comes before all read layers; in a single pass it stays in every answer."""
    read_layers: tuple[int, ...]
    correction: Removal
    """Its strength is alpha_max."""
    passes: Passes = "probe"
    gate: GateKind = "hard"
    positions: Positions = "last"

    @property
    def readings(self) -> int:
        """Number of passes of the last token before the answer."""
        return 0 if self.passes == "single" else 2 if self.signal in ("rho", "fitted") else 1

    @property
    def fitted(self) -> int:
        """Number of fitted weights."""
        return (self.signal in FITTED) * len(self.read_layers) * (2 if self.signal == "fitted" else 1)

    @property
    def effort(self) -> tuple[int, int, int, float]:
        """Fitted weights, passes, read layers and strength; a smaller tuple is a simpler recipe."""
        return self.fitted, self.readings, len(self.read_layers), self.correction.strength

    def regap(
        self, drift: Drift, refusal: Direction, gate: Gate, weights: Float[Tensor, "2 layer"] | None = None
    ) -> ReGap:
        """Return the edit; `gate` must be of the recipe's kind, `weights` those of a fitted signal."""
        if gate.kind != self.gate:
            raise ValueError(
                f"gate is {gate.kind!r}, and the recipe needs {self.gate!r}; give a gate of that kind"
            )
        same = (self.probe.layer, self.probe.part) == (self.correction.layer, self.correction.part)
        correction = None if same else self.correction.shift(drift, refusal, self.positions).at(1.0)
        probe = self.probe.shift(drift, refusal, self.positions)
        kept = weights if self.signal in FITTED else None
        strongest, layers = self.correction.strength, self.read_layers
        return ReGap(probe, refusal, layers, gate, strongest, self.signal, kept, correction, self.passes)

    def __str__(self) -> str:
        layers = f"{self.read_layers[0]}" + (f"-{self.read_layers[-1]}" if len(self.read_layers) > 1 else "")
        probed = (
            ""
            if self.signal in ("z_before", "fitted_before") or not self.probe.strength
            else f" after {self.probe}"
        )
        return f"{self.gate} gate on {self.signal} of blocks {layers}{probed}; removes {self.correction}; {self.passes}"
