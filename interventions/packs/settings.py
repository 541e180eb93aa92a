"""What is known of a correction but for its tensors: plain values, written to JSON and read back."""

from typing import Literal, cast, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field

from regap.errors import PackError
from regap.geometry.prompts.positions import Positions
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.gate import GateKind as GateKind
from regap.interventions.edits.signals import FITTED, Passes, Signal, Weights, weights_of
from regap.interventions.edits.site import Norm, Phase, Site

Kind = Literal["fixed", "regap"]


class Facts(BaseModel):
    """What is written to JSON and read back: frozen, unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SiteFacts(Facts):
    """Where it acts; the fields of Site."""

    layers: tuple[int, ...]
    positions: Positions
    phase: Phase
    norm: Norm

    def site(self) -> Site:
        """Return the site."""
        return Site(self.layers, self.positions, self.phase, self.norm)


class ProbeFacts(Facts):
    """What is taken off before the read layers, so that they can be read under it; its vectors are a tensor."""

    site: SiteFacts
    strength: float = Field(description="0 takes nothing off")
    part: str = Field(description="which vectors: D, D_along, D_across")


class GateFacts(Facts):
    """What a gated correction looks at before it decides, and how it decides."""

    passes: Passes = Field(
        description="probe: z is read before the answer; single: in the answer's own pass, where the probe stays"
    )
    probe: ProbeFacts
    read_layers: tuple[int, ...] = Field(min_length=1)
    signal: str = Field(description="rho, z_before, z_after, growth, or a fitted combination")
    weights: tuple[tuple[float, ...], tuple[float, ...]] = Field(
        description="of z at the read layers, without and with the probe: the signal is their weighted sum"
    )
    kind: GateKind
    threshold: float
    width: float

    def reading(self) -> Weights:
        """Return the weights, float64."""
        return torch.tensor(self.weights, dtype=torch.float64)

    def check(self) -> None:
        """Raise PackError for weights that are not those of the signal, or that the passes cannot give."""
        if self.signal not in get_args(Signal):
            raise PackError(f"signal {self.signal!r} is not known; known are {', '.join(get_args(Signal))}")
        count = len(self.read_layers)
        if len(set(self.read_layers)) != count:
            raise PackError(
                f"read layers {list(self.read_layers)} must each be named once; make the pack again"
            )
        if any(len(row) != count for row in self.weights):
            raise PackError(
                f"weights of signal {self.signal!r} must be two rows of {count}, one number for each read layer; "
                "make the pack again"
            )
        signal, weights = cast(Signal, self.signal), self.reading()
        if not torch.equal(weights_of(signal, count, weights if signal in FITTED else None), weights):
            raise PackError(f"weights are not those of signal {signal!r}; make the pack again")
        if self.passes == "single" and any(self.weights[0]):
            raise PackError(
                f"signal {signal!r} has weights of the uncorrected state, which a single pass does not see; "
                "make the pack again"
            )
        Gate(self.kind, self.threshold, self.width)


class Settings(Facts):
    """A correction but for its tensors."""

    kind: Kind
    site: SiteFacts
    strength: float = Field(description="alpha of a fixed correction, alpha_max of a gated one")
    part: str = Field(description="which vectors: D, D_along, D_across")
    refusal_layers: tuple[int, ...] = Field(description="blocks whose refusal direction is kept")
    gate: GateFacts | None = Field(description="None of a fixed correction")

    @property
    def layers(self) -> dict[str, tuple[int, ...]]:
        """Of each tensor by name, the blocks that its rows are of."""
        found = {"vectors": self.site.layers, "refusal": self.refusal_layers}
        return {**found, "probe": self.gate.probe.site.layers} if self.gate else found

    def check(self) -> None:
        """Raise PackError for settings that contradict each other."""
        gate = self.gate
        if (self.kind == "regap") != (gate is not None):
            raise PackError(f"a {self.kind} correction {'has no' if gate else 'needs a'} gate")
        for name, layers in self.layers.items():
            if not layers or len(set(layers)) != len(layers) or min(layers) < 0:
                raise PackError(
                    f"layers {list(layers)} of {name} must be at least one layer, each named once, none negative"
                )
        if gate:
            gate.check()
            self._check_order(gate)

    def _check_order(self, gate: GateFacts) -> None:
        unknown = [layer for layer in gate.read_layers if layer not in self.refusal_layers]
        if unknown:
            raise PackError(f"read layers {unknown} have no refusal direction; make the pack again")
        first, last = max(gate.probe.site.layers), max(gate.read_layers)
        early = [layer for layer in gate.read_layers if layer <= first]
        if early:
            raise PackError(
                f"read layers {early} must come after the probed layer {first}: at or before it there is nothing to "
                "read; make the pack again"
            )
        if gate.passes == "single" and min(self.site.layers) < last:
            raise PackError(
                f"in a single pass the correction at {list(self.site.layers)} comes before read layer {last}; "
                "make the pack again"
            )
