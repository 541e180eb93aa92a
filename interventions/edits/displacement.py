"""Edits that add a displacement to each state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from regap.geometry.forward.hooks import Hook
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.states.store import digest_of
from regap.interventions.edits.site import Norm, Site, position_rule


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
class Moved:
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

    @property
    def only_last(self) -> bool:
        """True if only the last prompt token, or later tokens, are edited."""
        return self.site.only_last

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return new hooks that move every state at the site."""
        return [
            Hook(model.hook_name(layer), self._hook(batch, move))
            for layer, move in zip(self.site.layers, self.moves, strict=True)
        ]

    def _hook(self, batch: Batch, move: Move) -> Callable[[Tensor], Tensor | None]:
        where = position_rule(self.site, batch)

        def shift(residual: Tensor) -> Tensor | None:
            mask = where(residual)
            if mask is None:
                return None
            return displaced(residual, self.strength * move(residual[mask].float()), mask, self.site.norm)

        return shift


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
    if norm == "keep":
        after = after * (
            before.norm(dim=-1, keepdim=True) / after.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        )
    moved = residual.clone()
    moved[where] = after.to(residual.dtype)
    return moved


def on_device(vector: Tensor, states: Float[Tensor, "token d_model"]) -> Tensor:
    """Return the vector in the dtype and on the device of the states."""
    return vector.to(states)
