"""Methods that read an input before they write to it: an unedited pass decides the strength of a fixed shift."""

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
    """From what is read of each prompt to a share of the full strength."""

    @property
    def identity(self) -> str:
        """Digest of all that decides the share."""
        ...

    def __call__(self, states: Float[Tensor, "prompt layer d_model"]) -> Float[Tensor, " prompt"]:
        """Return the share of each prompt, from its states at the layers that are read; float64 in, float64 out."""
        ...


@dataclass(frozen=True, eq=False)
class GatedShift:
    """h <- h - rule(unedited states at read_layers) * strength * vector, rule and vector fixed."""

    shift: Shift
    read_layers: tuple[int, ...]
    """Any blocks: they are read in a pass of their own, before anything is written."""
    rule: StrengthRule = field(repr=False)

    @property
    def identity(self) -> str:
        """Digest of shift, read layer and rule."""
        return digest_of(["read first", self.shift.identity, self.read_layers, self.rule.identity])

    @property
    def only_last(self) -> bool:
        """True if the prompt below its last token runs unedited."""
        return self.shift.only_last

    def strengths(self, model: Model, batch: Batch) -> Float[Tensor, " prompt"]:
        """Return how strongly each prompt of the batch is shifted."""
        seen = unedited(model, batch)[:, list(self.read_layers)]
        return self.shift.strength * self.rule(seen.double())

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Read the batch, then return fresh hooks that shift each prompt by its own strength."""
        return self.shift.hooks_for(model, batch, self.strengths(model, batch).to(torch.float32))


def unedited(model: Model, batch: Batch) -> Float[Tensor, "prompt layer d_model"]:
    """Return the last token's states after all blocks, the model as it is; run once and kept with the batch."""
    name = f"{model.fingerprint} unedited states"
    if name not in batch.kept:
        batch.kept[name] = run_last_token(model, prefill(model, batch), range(model.layers)).states
    return batch.kept[name]
