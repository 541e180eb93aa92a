"""Methods in which an unedited pass decides the strength of a fixed shift for each input."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.forward.hooks import Hook
from regap.geometry.forward.prefix import prefill, run_last_token
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.states.store import digest_of
from regap.interventions.edits.shift import Shift


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
