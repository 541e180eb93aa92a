"""Residual streams of a batch; the pass stops after the last layer that is read."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.carriers import tokens_at
from regap.geometry.forward.finite import check_finite, under
from regap.geometry.forward.hooks import Edit, PassEnds, Reader, ends_after, hooked
from regap.geometry.forward.image_features import seen_inputs
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.positions import Positions

States = Float[Tensor, "prompt layer d_model"]


@dataclass(frozen=True, eq=False)
class PendingStates:
    """States that may still be on the way from the device to the CPU."""

    states: States = field(repr=False)
    arrival: "torch.cuda.Event | None" = None
    """Event on the device that ends the copy; None if the states are there."""
    name: str = ""
    """The model's name, for messages."""
    told: str = ""
    """What the model ran under, for messages."""

    def wait(self) -> States:
        """Return the states, float32, on the CPU; raises ModelError if they are not finite."""
        if self.arrival is not None:
            self.arrival.synchronize()
        check_finite(self.name, self.states, self.told)
        return self.states


def read(
    model: Model,
    batch: Batch,
    layers: Sequence[int],
    edits: Sequence[Edit] = (),
    position: Positions = "last",
) -> States:
    """Return the states that `run` reads under the edits, without logits; the head and later layers are not run.

    At a position with several tokens, the mean of their states. Raises ConfigError for an unknown position, before the
    model is run.
    """
    return start_capture(model, batch, layers, edits, position).wait()


@torch.inference_mode()
def start_capture(
    model: Model,
    batch: Batch,
    layers: Sequence[int],
    edits: Sequence[Edit] = (),
    position: Positions = "last",
) -> PendingStates:
    """Return the states of `read` without waiting; a GPU starts the next batch while it copies them."""
    hooks = [hook for edit in edits for hook in edit.hooks(model, batch)]
    reader = Reader(model, layers, _tokens(model, batch, position))
    with suppress(PassEnds), hooked(model, [*hooks, *reader.hooks, ends_after(model, max(layers))]):
        model.hf.base_model(**seen_inputs(model, batch), use_cache=False)
    return _on_its_way(reader.states(), model.name, under(edits))


def _tokens(model: Model, batch: Batch, position: Positions) -> Bool[Tensor, "prompt token"] | None:
    """Return which tokens are read; None for the last token, which is the last column of every prompt."""
    if position == "last":
        return None
    tokens = tokens_at(model, batch, position)
    if not bool(tokens.any(1).all()):
        raise ModelError(f"position {position!r}: a prompt has no such token; choose another position or arm")
    return tokens


def _on_its_way(states: Tensor, name: str, told: str) -> PendingStates:
    if states.device.type != "cuda":
        return PendingStates(states.to("cpu", torch.float32), None, name, told)
    kept = torch.empty(states.shape, dtype=torch.float32, pin_memory=True)
    kept.copy_(states.float(), non_blocking=True)
    arrival = torch.cuda.Event()
    arrival.record(torch.cuda.current_stream(states.device))
    return PendingStates(kept, arrival, name, told)
