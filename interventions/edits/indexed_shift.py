"""A shift whose vector depends on which token of its role it is: the first, the second, and so on."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.forward.carriers import tokens_at
from regap.geometry.forward.hooks import Hook, first_column
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.edits.displacement import displaced
from regap.interventions.edits.site import AtSite, Site, check_strength, check_width, position_rule
from regap.interventions.edits.stored import StoredEdit, check_made_on


@dataclass(frozen=True, eq=False)
class IndexedShift(AtSite, StoredEdit, kind="indexed shift"):
    """h <- h - strength * vector_k at the k-th token of a site's positions in each prompt."""

    site: Site
    vectors: Float[Tensor, "layer index d_model"] = field(repr=False)
    """For each layer of the site, one vector for each token of the role; the last one is for all further tokens."""
    strength: float
    """Multiple of the vectors, equal for all inputs."""
    name: str
    """Name of the vectors."""
    model: str = field(default="", repr=False, metadata={"stored": False})
    """Fingerprint of the model whose states the vectors were made of; empty if it is not known."""
    token_by_token: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_strength(self.strength)
        if self.site.phase != "prefill":
            raise ValueError(
                f"phase is {self.site.phase!r}, and generated tokens have no place in a role; leave phase prefill"
            )
        if len(self.vectors) != len(self.site.layers) or not self.vectors.shape[1]:
            raise ValueError(
                f"vectors {self.name!r} of shape {list(self.vectors.shape)} do not fit site {self.site}; give one row "
                "of vectors for each layer"
            )
        if not bool(torch.isfinite(self.vectors).all()):
            raise ValueError(
                f"vectors {self.name!r} hold infinities or NaN; compute them from float32 states"
            )

    @property
    def identity(self) -> str:
        """Digest of site, vectors and strength."""
        return digest_of(["indexed shift", str(self.site), digest_of_tensor(self.vectors), self.strength])

    @property
    def made_on(self) -> str:
        """Fingerprint of the model that the vectors were made on."""
        return self.model

    def at(self, strength: float) -> "IndexedShift":
        """Return the same shift at another strength."""
        return replace(self, strength=strength)

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return new hooks that shift each token by the vector of its place; ModelError for another model's vectors."""
        check_made_on(self.model, model, f"vectors {self.name!r}")
        check_width(f"vectors {self.name!r}", self.vectors.shape[2], model)
        return [
            Hook(model.hook_name(layer), self._hook(model, batch, vectors))
            for layer, vectors in zip(self.site.layers, self.vectors, strict=True)
        ]

    def _hook(self, model: Model, batch: Batch, vectors: Tensor) -> Callable[[Tensor], Tensor | None]:
        where = position_rule(model, self.site, batch)

        def move(residual: Tensor) -> Tensor | None:
            mask = where(residual)
            if mask is None:
                return None
            # Counted over the whole prompt, so that a prompt may be run in any number of passes.
            first = first_column(residual, batch.columns)
            places = (
                tokens_at(model, batch, self.site.positions).cumsum(1)[:, first : first + residual.shape[1]]
                - 1
            )
            chosen = vectors[places[mask].clamp_max(len(vectors) - 1).cpu()]
            return displaced(residual, -self.strength * chosen.to(residual), mask, self.site.norm)

        return move
