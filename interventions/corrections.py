"""A correction as data: everything that decides what is done to a prompt, and nothing of a model library."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from regap.geometry.positions import Positions
from regap.interventions.gates import Gate
from regap.interventions.gates import Kind as GateKind
from regap.interventions.signals import Signal, Weights
from regap.interventions.sites import Norm, Phase, Site

Kind = Literal["fixed", "regap"]


class PackError(ValueError):
    """A pack cannot be used; the message says why, and the remedy."""


class Facts(BaseModel):
    """What is written to JSON and read back: frozen, unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SiteFacts(Facts):
    """Where it acts; the fields of Site."""

    layers: tuple[int, ...]
    positions: Positions
    phase: Phase
    norm: Norm


class GateFacts(Facts):
    """What a gated correction looks at before it decides, and how it decides."""

    read_layers: tuple[int, ...] = Field(min_length=1)
    signal: str = Field(description="rho, z_before, z_after, growth, or a fitted combination")
    weights: tuple[tuple[float, ...], tuple[float, ...]] = Field(
        description="of z at the read layers, without and with the probe: the signal is their weighted sum"
    )
    probe: float = Field(description="strength of the correction under which the read layers are read again")
    kind: GateKind
    threshold: float
    width: float

    def reading(self) -> Weights:
        """Return the weights, float64."""
        return torch.tensor(self.weights, dtype=torch.float64)


class Settings(Facts):
    """A correction but for its vectors."""

    kind: Kind
    site: SiteFacts
    strength: float = Field(description="alpha of a fixed correction, alpha_max of a gated one")
    part: str = Field(description="which vectors: D, D_along, D_across")
    refusal_layers: tuple[int, ...] = Field(description="blocks whose refusal direction is kept")
    gate: GateFacts | None = Field(description="None of a fixed correction")


@dataclass(frozen=True, eq=False)
class Correction:
    """h <- h - alpha * vector at a site, alpha the same for all prompts or decided for each by a gate."""

    settings: Settings
    vectors: Float[Tensor, "layer d_model"] = field(repr=False)
    """One for each layer of the site, in the residual stream's own units."""
    refusal: Float[Tensor, "read d_model"] = field(repr=False)
    """Unit refusal directions of the layers the settings name."""

    def __post_init__(self) -> None:
        known, site = self.settings, self.site
        for name, tensor, layers in (
            ("vectors", self.vectors, site.layers),
            ("refusal", self.refusal, known.refusal_layers),
        ):
            if tensor.ndim != 2 or len(tensor) != len(layers):
                raise PackError(
                    f"{name} has shape {list(tensor.shape)}, and there are {len(layers)} layers; make the pack again"
                )
            if not bool(torch.isfinite(tensor).all()):
                raise PackError(
                    f"{name} holds NaN or infinite numbers; make the pack again from finite states"
                )
        if self.vectors.shape[1] != self.refusal.shape[1]:
            raise PackError(
                f"vectors are {self.vectors.shape[1]} wide and refusal directions {self.refusal.shape[1]}; "
                "make the pack again"
            )
        if min((*site.layers, *known.refusal_layers)) < 0:
            raise PackError(
                f"layers {list(site.layers)} and {list(known.refusal_layers)} must not be negative"
            )
        if (known.kind == "regap") != (known.gate is not None):
            raise PackError(f"a {known.kind} correction {'has no' if known.gate else 'needs a'} gate")
        if known.gate:
            self._check_gate(known.gate)

    def _check_gate(self, gate: GateFacts) -> None:
        if gate.signal not in get_args(Signal):
            raise PackError(f"signal {gate.signal!r} is not known; known are {', '.join(get_args(Signal))}")
        early = [layer for layer in gate.read_layers if layer <= max(self.site.layers)]
        if early:
            raise PackError(
                f"read layers {early} must come after the corrected layer {max(self.site.layers)}: "
                "at or before it there is nothing to read"
            )
        unknown = [layer for layer in gate.read_layers if layer not in self.settings.refusal_layers]
        if unknown:
            raise PackError(f"read layers {unknown} have no refusal direction; make the pack again")
        if any(len(row) != len(gate.read_layers) for row in gate.weights):
            raise PackError(
                f"weights of signal {gate.signal!r} must be two rows of {len(gate.read_layers)}, one number for each "
                "read layer; make the pack again"
            )
        Gate(gate.kind, gate.threshold, gate.width)

    @property
    def site(self) -> Site:
        """Where it acts."""
        facts = self.settings.site
        return Site(facts.layers, facts.positions, facts.phase, facts.norm)

    @property
    def width(self) -> int:
        """Width of the residual stream it is for."""
        return self.vectors.shape[1]

    def gate(self) -> Gate:
        """Return the gate; raises PackError for a fixed correction, which has none."""
        facts = self.settings.gate
        if facts is None:
            raise PackError("a fixed correction has no gate")
        return Gate(facts.kind, facts.threshold, facts.width)

    def directions(self) -> Float[Tensor, "read d_model"]:
        """Return the refusal directions of the layers that the gate reads."""
        layers = self.settings.gate.read_layers if self.settings.gate else ()
        return self.refusal[[self.settings.refusal_layers.index(layer) for layer in layers]]
