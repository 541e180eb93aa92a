"""Coordinates and refusals of calibration pairs under every removal that a recipe may use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.analyses.runs.measured import Measured
from regap.geometry.data.pairs import Pairs
from regap.interventions.edits.recipe import Removal
from regap.interventions.edits.signals import Traces
from regap.interventions.sweep import sweep

Removals = tuple[Removal, ...]
"""Removals in one pass; empty for the unedited model."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Coordinates and refusals of prompts in the image arm under removals, at the last prompt token."""

    harmful: Bool[Tensor, " prompt"]
    clusters: tuple[str, ...] = field(repr=False)
    coordinates: Mapping[Removals, Float[Tensor, "prompt layer"]] = field(repr=False)
    """z at every layer."""
    refused: Mapping[Removals, Bool[Tensor, " prompt"]] = field(repr=False)
    """True if the first token opens a refusal."""

    @property
    def layers(self) -> int:
        """Number of layers of the model."""
        return self.coordinates[()].shape[1]

    def traces(self, probe: Removal, read_layers: Sequence[int]) -> Traces:
        """Return z without and with a probe, at these layers; a probe of strength 0 changes nothing."""
        columns = list(read_layers)
        after = self.coordinates[(probe,) if probe.strength else ()]
        return Traces(self.coordinates[()][:, columns], after[:, columns])

    def refusals(self, *removals: Removal) -> Bool[Tensor, " prompt"]:
        """Return True for prompts that are refused under these removals; strength 0 changes nothing."""
        return self.refused[tuple(each for each in removals if each.strength)]

    def joined(self, other: "Evidence") -> "Evidence":
        """Return the evidence of both; they must be on the same prompts."""
        if other.clusters != self.clusters:
            raise ValueError("evidence on different prompts cannot be joined; gather it on the same pairs")
        found = {**self.coordinates, **other.coordinates}
        return replace(self, coordinates=found, refused={**self.refused, **other.refused})


def gather(
    seen: Measured,
    pairs: Pairs,
    removals: Sequence[Removals],
    told: str = "",
) -> Evidence:
    """Return coordinates and refusals of these pairs in the image arm under each removal, by one-token passes.

    told: the name of this stage in the progress bars.
    """
    asked = pairs.where(arm=seen.image_arm)
    edits = [[each.shift(seen.drift, seen.refusal) for each in listed] for listed in removals]
    layers = range(seen.model.layers)
    found = sweep(
        seen.runner.named(told or "reading prompts under removals"),
        asked,
        seen.image_arm,
        edits,
        seen.refusal,
        layers,
    )
    refused = torch.isin(found.first_tokens, torch.tensor(sorted(seen.refusal_tokens)))
    return Evidence(
        torch.tensor([pair.label == "harmful" for pair in asked]),
        tuple(pair.cluster for pair in asked),
        dict(zip(removals, found.coordinates, strict=True)),
        dict(zip(removals, refused, strict=True)),
    )
