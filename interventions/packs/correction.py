"""A correction as data: everything that decides what is done to a prompt, and nothing of a model library."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import PackError
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.signals import Weights
from regap.interventions.edits.site import Site
from regap.interventions.packs.settings import GateFacts, Settings

NAMES = {"vectors": "vectors", "refusal": "refusal directions", "probe": "vectors of the probe"}


@dataclass(frozen=True, eq=False)
class SiteVectors:
    """A site, and the vectors that are taken off there."""

    site: Site
    vectors: Float[Tensor, "layer d_model"] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Correction:
    """h <- h - alpha * vector at a site, alpha the same for all prompts or decided for each by a gate."""

    settings: Settings
    vectors: Float[Tensor, "layer d_model"] = field(repr=False)
    """One for each layer of the site, in the residual stream's own units."""
    refusal: Float[Tensor, "read d_model"] = field(repr=False)
    """Unit refusal directions of the layers the settings name."""
    probe: Float[Tensor, "probed d_model"] | None = field(default=None, repr=False)
    """Of a gated correction: one vector for each layer of its probe's site."""

    def __post_init__(self) -> None:
        self.settings.check()
        layers_of = self.settings.layers
        if set(self.tensors) != set(layers_of):
            raise PackError(
                f"tensors are {_list(self.tensors)}, and must be {_list(layers_of)}; make the pack again"
            )
        for name, tensor in self.tensors.items():
            layers = layers_of[name]
            if tensor.ndim != 2 or len(tensor) != len(layers):
                raise PackError(
                    f"{name} has shape {list(tensor.shape)}, and there are {len(layers)} layers; make the pack again"
                )
            if not bool(torch.isfinite(tensor).all()):
                raise PackError(
                    f"{name} holds NaN or infinite numbers; make the pack again from finite states"
                )
            if tensor.shape[1] != self.width:
                raise PackError(
                    f"vectors are {self.width} wide and {NAMES[name]} {tensor.shape[1]}; make the pack again"
                )

    @property
    def site(self) -> Site:
        """Where it acts."""
        return self.settings.site.site()

    @property
    def removed(self) -> SiteVectors:
        """What is taken off, by the strength that each prompt is given."""
        return SiteVectors(self.site, self.vectors)

    @property
    def weights(self) -> Weights:
        """Of z without and with the probe at the read layers, float64; raises PackError for a fixed correction."""
        return self._gate_facts().reading()

    @property
    def probe_strength(self) -> float:
        """By how much the probe's vectors are taken off; raises PackError for a fixed correction."""
        return self._gate_facts().probe.strength

    @property
    def probed(self) -> SiteVectors:
        """What is taken off before the gate reads; raises PackError for a fixed correction, which reads nothing."""
        facts = self._gate_facts()
        assert self.probe is not None  # checked when the correction was made
        return SiteVectors(facts.probe.site.site(), self.probe)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where anything is taken off, the probe's site among them."""
        gate = self.settings.gate
        return (self.site, gate.probe.site.site()) if gate else (self.site,)

    @property
    def layers(self) -> tuple[int, ...]:
        """Every layer that is edited or read, or whose refusal direction is kept."""
        return tuple({layer for layers in self.settings.layers.values() for layer in layers})

    @property
    def read_layers(self) -> tuple[int, ...]:
        """Blocks that the gate reads; none of a fixed correction."""
        return self.settings.gate.read_layers if self.settings.gate else ()

    @property
    def only_last(self) -> bool:
        """True if the prompt below its last token runs unedited."""
        return all(site.only_last for site in self.sites)

    @property
    def single(self) -> bool:
        """True if the gate is read in the pass that is corrected."""
        return self.settings.gate is not None and self.settings.gate.passes == "single"

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name: vectors, refusal and, of a gated correction, probe."""
        found = {"vectors": self.vectors, "refusal": self.refusal}
        return found if self.probe is None else {**found, "probe": self.probe}

    @classmethod
    def of(cls, settings: Settings, tensors: Mapping[str, Tensor]) -> "Correction":
        """Return the correction of these settings and named tensors; raises PackError for any but those it takes."""
        settings.check()
        if set(tensors) != set(settings.layers):
            raise PackError(
                f"tensors are {_list(tensors)}, and must be {_list(settings.layers)}; make them again"
            )
        return cls(settings, **tensors)

    @property
    def width(self) -> int:
        """Width of the residual stream it is for."""
        return self.vectors.shape[1]

    def gate(self) -> Gate:
        """Return the gate; raises PackError for a fixed correction, which has none."""
        facts = self._gate_facts()
        return Gate(facts.kind, facts.threshold, facts.width)

    def _gate_facts(self) -> GateFacts:
        if self.settings.gate is None:
            raise PackError("a fixed correction has no gate")
        return self.settings.gate

    def directions(self) -> Float[Tensor, "read d_model"]:
        """Return the refusal directions of the layers that the gate reads."""
        return self.refusal[[self.settings.refusal_layers.index(layer) for layer in self.read_layers]]

    def strengths(self, signal: Float[Tensor, " prompt"]) -> Float[Tensor, " prompt"]:
        """Return alpha of each prompt with such a signal; raises PackError for a fixed correction."""
        return self.settings.strength * self.gate()(signal)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
