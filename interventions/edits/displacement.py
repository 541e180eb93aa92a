"""Edits that add a displacement to each state at a site."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from regap.geometry.forward.hooks import Hook
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.states.store import digest_of
from regap.interventions.edits.site import AtSite, Norm, Site, as_long_as, position_rule

Displace = Callable[[Float[Tensor, "token d_model"], Tensor], Float[Tensor, "token d_model"]]
"""(states, the row in the batch of each one's prompt) -> the displacement of each state; float32 in, float32 out."""


class Displacing(AtSite, ABC):
    """An edit h <- h + displacement at every layer of a site."""

    @abstractmethod
    def displacements(self, model: Model, batch: Batch) -> Iterable[Displace]:
        """Return the displacement at each layer of the site; other runs that it needs are made first."""

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return new hooks that move every state at the site."""
        found = zip(self.site.layers, self.displacements(model, batch), strict=True)
        return [Hook(model.hook_name(layer), self._hook(model, batch, displace)) for layer, displace in found]

    def _hook(self, model: Model, batch: Batch, displace: Displace) -> Callable[[Tensor], Tensor | None]:
        where = position_rule(model, self.site, batch)

        def move(residual: Tensor) -> Tensor | None:
            mask = where(residual)
            if mask is None:
                return None
            displacement = displace(residual[mask].float(), mask.nonzero()[:, 0])
            return displaced(residual, displacement, mask, self.site.norm)

        return move


@runtime_checkable
class Move(Protocol):
    """A displacement at strength 1 that depends on the state."""

    @property
    def identity(self) -> str:
        """Digest of everything that decides the displacement."""
        ...

    def __call__(self, states: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """Return the displacement of each state; float32 in, float32 out."""
        ...


@dataclass(frozen=True, eq=False)
class Moved(Displacing):
    """h <- h + strength * move(h) at a site, with one move for each of its layers."""

    site: Site
    moves: Sequence[Move] = field(repr=False)
    strength: float

    def __post_init__(self) -> None:
        if len(self.moves) != len(self.site.layers):
            raise ValueError(f"{len(self.moves)} moves do not fit site {self.site}; give one for each layer")

    @property
    def identity(self) -> str:
        """Digest of site, moves and strength."""
        return digest_of(["moved", str(self.site), [move.identity for move in self.moves], self.strength])

    def displacements(self, model: Model, batch: Batch) -> Iterable[Displace]:  # noqa: ARG002
        """Return the move of each layer, times the strength."""
        return [lambda states, _, move=move: self.strength * move(states) for move in self.moves]


def displaced(
    residual: Float[Tensor, "prompt token d_model"],
    displacement: Float[Tensor, "marked d_model"],
    where: Bool[Tensor, "prompt token"],
    norm: Norm = "plain",
) -> Float[Tensor, "prompt token d_model"]:
    """Return h + displacement at the marked tokens, prompt after prompt, and h itself, bit for bit, elsewhere.

    The input is not written to. With norm "keep" each moved state keeps its length.
    """
    before = residual[where].float()
    after = before + displacement.to(before)
    moved = residual.clone()
    moved[where] = (as_long_as(before, after) if norm == "keep" else after).to(residual.dtype)
    return moved
