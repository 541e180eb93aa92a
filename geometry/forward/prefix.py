"""Passes over whole prompts, or over their last token only, with a reusable KV cache of the rest."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.forward.finite import check_finite, under
from regap.geometry.forward.hooks import Edit, Hook, Reader, hooked
from regap.geometry.forward.image_features import seen_inputs
from regap.geometry.forward.kv_cache import comes_back, never_comes_back, record_windows
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, position_ids


@dataclass(frozen=True, eq=False)
class LastToken:
    """States and logits of one pass at the last prompt token."""

    states: Float[Tensor, "prompt layer d_model"]
    """Outputs of the blocks asked for, float32, on the CPU."""
    logits: Float[Tensor, "prompt token_id"]
    """Next-token logits, float32, on the CPU."""


@dataclass(eq=False)
class Prefix:
    """The part of a batch that is left to run: its last token over the KV cache of the rest, or all of it."""

    batch: Batch
    cache: Any = field(default=None, repr=False)
    """Keys and values of all but the last token; None if every pass runs whole prompts."""
    positions: Tensor | None = field(default=None, repr=False)
    """Position of the last token of each prompt, without padding; None for a model that takes no positions."""
    offsets: Tensor | None = field(default=None, repr=False)
    """Offset of later positions from token counts, for models with two-dimensional image positions."""

    @property
    def whole(self) -> bool:
        """True if every pass runs whole prompts."""
        return self.cache is None

    def run(self, model: Model, hooks: Sequence[Hook], reading: Sequence[Hook] = ()) -> Any:
        """Return the model's output for the part that is left, under the hooks; the prefix can then be used again.

        `reading` are hooks that change nothing; they run after the others.
        """
        if self.cache is None:
            with hooked(model, [*hooks, *reading]):
                return model.hf(**seen_inputs(model, self.batch), use_cache=False, logits_to_keep=1)
        inputs = self.batch.inputs
        with borrowed(model, self), hooked(model, [*hooks, *reading]):
            return model.hf(
                input_ids=inputs["input_ids"][:, -1:],
                attention_mask=inputs["attention_mask"],
                **({} if self.positions is None else {"position_ids": self.positions}),
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=1,
            )


@torch.inference_mode()
def run(model: Model, batch: Batch, layers: Sequence[int], edits: Sequence[Edit] = ()) -> LastToken:
    """Return residual streams and logits at the last prompt token of a full pass under the edits, applied in order.

    An edited layer is read after its edit.
    """
    hooks = [hook for edit in edits for hook in edit.hooks(model, batch)]
    return run_last_token(model, whole_prompts(model, batch), layers, hooks, under(edits))


@torch.inference_mode()
def run_last_token(
    model: Model, prefix: Prefix, layers: Sequence[int], hooks: Sequence[Hook] = (), told: str = ""
) -> LastToken:
    """Return what `run` returns, by running only the part that is left; the hooks must edit only the last token.

    `told` names the edits in messages. Raises ModelError if states or logits are not finite.
    """
    told = told or ("under its hooks" if hooks else "")
    states, logits = _run(model, prefix, layers, hooks, told)
    last = logits[:, -1].float().cpu()
    check_finite(model.name, last.amax(-1), told, "logits")  # some models rule out tokens by minus infinity
    return LastToken(states, last)


@torch.inference_mode()
def read_last_token(
    model: Model, prefix: Prefix, layers: Sequence[int], hooks: Sequence[Hook] = ()
) -> Float[Tensor, "prompt layer d_model"]:
    """Return only the states of `run_last_token`; no logits are copied."""
    return _run(model, prefix, layers, hooks, "under its hooks" if hooks else "")[0]


def _run(
    model: Model, prefix: Prefix, layers: Sequence[int], hooks: Sequence[Hook], told: str
) -> tuple[Tensor, Tensor]:
    reader = Reader(model, layers)
    logits = prefix.run(model, hooks, reader.hooks).logits
    states = reader.states() if reader.layers else torch.empty(logits.shape[0], 0, 0)
    states = states.to("cpu", torch.float32)
    check_finite(model.name, states, told)
    return states, logits


def whole_prompts(model: Model, batch: Batch) -> Prefix:
    """Return the batch with all of it left to run."""
    kept = batch.kept.get(model.fingerprint)
    return kept if kept is not None and kept.whole else Prefix(batch)


@torch.inference_mode()
def prefill(model: Model, batch: Batch) -> Prefix:
    """Return the batch with all but its last prompt token run, unedited; this is run once and kept with the batch.

    All of it is left to run if the model's KV cache cannot be reused, or put back after a pass.
    """
    if model.fingerprint in batch.kept:
        return batch.kept[model.fingerprint]
    found = prefill_under(model, batch, ())
    if not found.whole:
        batch.kept[model.fingerprint] = found
    return found


@torch.inference_mode()
def prefill_under(model: Model, batch: Batch, hooks: Sequence[Hook]) -> Prefix:
    """Return the batch with all but its last prompt token run under the hooks; it is not kept.

    Hooks must change each token by itself. All of the batch is left to run where `prefill` leaves it.
    """
    if not model.one_token_passes or never_comes_back(model.hf):
        return Prefix(batch)
    length = batch.inputs["input_ids"].shape[1]
    cut = {
        name: value[:, :-1] if isinstance(value, Tensor) and value.shape[1:] == (length,) else value
        for name, value in seen_inputs(model, batch).items()
    }
    positions, offsets = token_positions(model, batch)
    places = {} if positions is None else {"position_ids": positions[..., :-1]}
    with hooked(model, hooks):
        output = model.hf(**{**cut, **places}, use_cache=True, logits_to_keep=1)
    cache = getattr(output, "past_key_values", None)  # some recurrent models give it another name
    record_windows(cache)
    found = Prefix(batch, cache, None if positions is None else positions[..., -1:], offsets)
    again = comes_back(model.hf, cache, lambda: found.run(model, []).logits)
    return found if again else Prefix(batch)


@contextmanager
def borrowed(model: Model, prefix: Prefix) -> Iterator[None]:
    """Let passes continue from the prefix, and then remove what they add to its keys and values.

    A pass that fails may have added to some layers only; the prefix is then dropped, and run again when needed.
    """
    kept = prefix.cache.get_seq_length()
    if prefix.offsets is not None:
        model.image_numbering.rope_deltas = prefix.offsets  # the model keeps the offsets of its last batch
    try:
        yield
    except BaseException:
        prefix.batch.kept.pop(model.fingerprint, None)
        raise
    prefix.cache.crop(kept - prefix.cache.get_seq_length())


def token_positions(model: Model, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
    """Return position ids as `generate` makes them, without padding, and the offsets of later tokens.

    Models like Qwen-VL number image tokens by height and width; their own function is called. Position ids are None
    for a model that takes none.
    """
    numbering = model.image_numbering
    if numbering is None:
        return position_ids(batch.inputs["attention_mask"]) if model.takes_positions else None, None
    if "image_grid_thw" not in batch.inputs:
        flat = position_ids(batch.inputs["attention_mask"])
        return flat, flat.new_zeros(len(flat), 1)
    asked = signature(numbering.get_rope_index).parameters
    return numbering.get_rope_index(**{name: value for name, value in batch.inputs.items() if name in asked})
