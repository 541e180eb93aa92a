"""Shifts: a multiple of a vector is removed from every input, the same for all or decided for each by its states."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.drift import Drift
from regap.geometry.forward.hooks import Hook
from regap.geometry.forward.prefix import prefill, run_last_token
from regap.geometry.models.model import Model
from regap.geometry.one_or_several import as_layers
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.positions import Positions
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.edits.site import (
    AtSite,
    Norm,
    Phase,
    Site,
    check_strength,
    check_width,
    position_rule,
    shifted,
)
from regap.interventions.edits.stored import StoredEdit, check_made_on


@dataclass(frozen=True, eq=False)
class Shift(AtSite, StoredEdit, kind="shift"):
    """h <- h - strength * vector at a site; positive strengths remove the vector, negative ones add it."""

    site: Site
    vectors: Float[Tensor, "layer d_model"] = field(repr=False)
    """One vector for each layer of the site, in units of the residual stream."""
    strength: float
    """Multiple of the vectors, equal for all inputs."""
    name: str
    """Name of the vectors: D, D_along, D_across, random, shuffled, refusal."""
    model: str = field(default="", repr=False, metadata={"stored": False})
    """Fingerprint of the model whose states the vectors were made of; empty if it is not known."""
    token_by_token: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or not self.vectors.is_floating_point():
            raise ValueError(
                f"vectors {self.name!r} have shape {list(self.vectors.shape)} and dtype {self.vectors.dtype}; "
                "give real numbers of shape [layer, d_model]"
            )
        check_strength(self.strength)
        if len(self.vectors) != len(self.site.layers):
            raise ValueError(
                f"{len(self.vectors)} vectors do not fit site {self.site}; give one for each layer"
            )
        if not bool(torch.isfinite(self.vectors).all()):
            raise ValueError(
                f"vectors {self.name!r} hold infinities or NaN; compute them from float32 states"
            )

    @property
    def identity(self) -> str:
        """Digest of site, vectors and strength."""
        return digest_of(["shift", str(self.site), digest_of_tensor(self.vectors), self.strength])

    @property
    def made_on(self) -> str:
        """Fingerprint of the model that the vectors were made on."""
        return self.model

    @property
    def width(self) -> int:
        """Width of the residual stream that it fits."""
        return self.vectors.shape[1]

    def at(self, strength: float) -> "Shift":
        """Return the same shift at another strength."""
        return replace(self, strength=strength)

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return new hooks that shift every prompt of the batch by the same strength."""
        return self.hooks_for(model, batch, torch.full((len(batch),), float(self.strength)))

    def hooks_for(self, model: Model, batch: Batch, strengths: Float[Tensor, " prompt"]) -> list[Hook]:
        """Return new hooks that shift each prompt by its own strength; ModelError for vectors of another model."""
        check_made_on(self.model, model, f"shift {self.name!r}")
        check_width(f"vectors {self.name!r}", self.width, model)
        return [
            Hook(model.hook_name(layer), _hook(model, self.site, batch, vector, strengths))
            for layer, vector in zip(self.site.layers, self.vectors, strict=True)
        ]


def fixed_correction(drift: Drift, site: Site, strength: float = 1.0) -> Shift:
    """Return the correction h <- h - strength * D at the site; our operationalisation."""
    return Shift(
        site, torch.stack([drift.at(layer) for layer in site.layers]), strength, drift.part, drift.model
    )


def shift(
    drift: Drift,
    layers: Sequence[int] | int,
    strength: float = 1.0,
    positions: Positions | None = None,
    phase: Phase = "prefill",
    norm: Norm = "plain",
) -> Shift:
    """Return the edit h <- h - strength * D at these layers, 0-based; a negative strength adds the drift.

    It acts at `positions`, by default where the drift's image states were read. Raises ValueError for a layer that the
    drift does not have.
    """
    at = positions or drift.position
    return fixed_correction(drift, Site(as_layers(layers), at, phase, norm), strength)


def _hook(
    model: Model, site: Site, batch: Batch, vector: Tensor, strengths: Tensor
) -> Callable[[Tensor], Tensor | None]:
    where = position_rule(model, site, batch)

    def shift(residual: Tensor) -> Tensor | None:
        mask = where(residual)
        return None if mask is None else shifted(residual, vector, strengths, mask, site.norm)

    return shift


@runtime_checkable
class StrengthRule(Protocol):
    """A function from the states of each prompt to a share of the full strength."""

    @property
    def identity(self) -> str:
        """Digest of everything that decides the share."""
        ...

    def __call__(self, states: Float[Tensor, "prompt layer d_model"]) -> Float[Tensor, " prompt"]:
        """Return the share of each prompt, from its states at the read layers; float64 in, float64 out."""
        ...


@dataclass(frozen=True, eq=False)
class GatedShift:
    """h <- h - rule(unedited states at read_layers) * strength * vector, with rule and vector fixed."""

    shift: Shift
    read_layers: tuple[int, ...]
    """Any blocks; they are read in a separate, unedited pass first."""
    rule: StrengthRule = field(repr=False)

    @property
    def identity(self) -> str:
        """Digest of shift, read layers and rule."""
        return digest_of(["read first", self.shift.identity, self.read_layers, self.rule.identity])

    @property
    def only_last(self) -> bool:
        """True if only the last prompt token, or later tokens, are edited."""
        return self.shift.only_last

    def strengths(self, model: Model, batch: Batch) -> Float[Tensor, " prompt"]:
        """Return the strength of the shift for each prompt of the batch."""
        seen = unedited(model, batch)[:, list(self.read_layers)]
        return self.shift.strength * self.rule(seen.double())

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Read the batch, then return new hooks that shift each prompt by its own strength."""
        return self.shift.hooks_for(model, batch, self.strengths(model, batch).to(torch.float32))


def unedited(model: Model, batch: Batch) -> Float[Tensor, "prompt layer d_model"]:
    """Return the unedited states of the last token after all blocks; they are computed once per batch."""
    name = f"{model.fingerprint} unedited states"
    if name not in batch.kept:
        batch.kept[name] = run_last_token(model, prefill(model, batch), range(model.layers)).states
    return batch.kept[name]
