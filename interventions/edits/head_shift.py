"""Shifts of what attention heads write, before the output projection."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.forward.hooks import Hook
from regap.geometry.models.model import Model
from regap.geometry.models.submodule_hooks import part_name
from regap.geometry.prompts.batch import Batch
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.edits.site import AtSite, Site, check_strength, position_rule, shifted


@dataclass(frozen=True, eq=False)
class HeadShift(AtSite):
    """z <- z + strength * vector for the heads of each layer of a site, side by side; 0 for heads that stay."""

    site: Site
    vectors: tuple[Float[Tensor, " _width"], ...] = field(repr=False)
    """One vector for each layer: the vectors of its heads, one after the other."""
    strength: float

    def __post_init__(self) -> None:
        check_strength(self.strength)
        if len(self.vectors) != len(self.site.layers):
            raise ValueError(
                f"{len(self.vectors)} vectors do not fit site {self.site}; give one for each layer"
            )

    @property
    def identity(self) -> str:
        """Digest of site, vectors and strength."""
        return digest_of(
            ["heads", str(self.site), [digest_of_tensor(each) for each in self.vectors], self.strength]
        )

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return new hooks that move the heads at the site; layers without a vector get none."""
        return [
            Hook(part_name(model, "heads", layer), self._hook(model, batch, vector))
            for layer, vector in zip(self.site.layers, self.vectors, strict=True)
            if bool(vector.any())
        ]

    def _hook(self, model: Model, batch: Batch, vector: Tensor) -> Callable[[Tensor], Tensor | None]:
        where = position_rule(model, self.site, batch)
        strengths = torch.full((len(batch),), -float(self.strength))

        def move(written: Tensor) -> Tensor | None:
            mask = where(written)
            return None if mask is None else shifted(written, vector, strengths, mask)

        return move
