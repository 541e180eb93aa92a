"""One forward pass under hooks: the only place where residual streams are read off a model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.image_features import seen_inputs
from regap.geometry.models.loading import Model
from regap.geometry.models.submodule_hooks import attached, point_of, read_only_hook
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.token_positions import token_positions

Residual = Float[Tensor, "prompt token d_model"]


@dataclass(frozen=True)
class Hook:
    """A function put on one hook point: it is given the residual stream there and returns the new one."""

    name: str
    """Canonical TransformerLens name, as Model.hook_name gives it."""
    function: Callable[[Residual], Residual | None]
    """Returns a new tensor, or None to change nothing; never writes to its input."""


@runtime_checkable
class Edit(Protocol):
    """What a forward pass needs to know of an intervention."""

    @property
    def identity(self) -> str:
        """Digest of everything the edit does: equal identities, equal effect."""
        ...

    @property
    def only_last(self) -> bool:
        """True if the prompt below its last token runs unedited, so that one-token passes are exact."""
        ...

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return fresh hooks for one pass, or one generation, over this batch."""
        ...


@dataclass(eq=False)
class Prefix:
    """A batch of which all but the last prompt token has been run, its keys and values kept."""

    batch: Batch
    cache: Any = field(repr=False)
    positions: Tensor = field(repr=False)
    """Position of the last token of each prompt, padding not counted."""
    offsets: Tensor | None = field(default=None, repr=False)
    """How far later positions lie from those of the tokens, for models that lay images out in two dimensions."""


@dataclass(frozen=True, eq=False)
class LastToken:
    """What one pass says at the last prompt token."""

    states: Float[Tensor, "prompt layer d_model"]
    """Outputs of the blocks asked for, float32, on the CPU."""
    logits: Float[Tensor, "prompt token_id"]
    """Next-token logits, float32, on the CPU."""


@contextmanager
def hooked(model: Model, hooks: Sequence[Hook]) -> Iterator[None]:
    """Run the model with these hooks; afterwards, and after an exception, it is as it was.

    Raises ModelError, before the model is touched, for a name that is no hook of the model.
    """
    standing = [hook for hook in hooks if hook.name in model.bridge.hook_dict]
    others = [hook for hook in hooks if hook.name not in model.bridge.hook_dict]
    points = []
    for hook in others:
        point = point_of(model, hook.name)
        if point is None:
            near = ", ".join(get_close_matches(hook.name, model.bridge.hook_dict, n=3))
            raise ModelError(f"hook {hook.name!r} is not in model {model.name}; the nearest are {near}")
        points.append(point)
    with (
        model.bridge.hooks(fwd_hooks=[(hook.name, _adapted(model, hook)) for hook in standing]),
        attached(points, [hook.function for hook in others]),
    ):
        yield


@torch.inference_mode()
def run(model: Model, batch: Batch, layers: Sequence[int], edits: Sequence[Edit] = ()) -> LastToken:
    """Return residual streams and logits at the last prompt token of a full pass under the edits, in order.

    A layer that is edited is read after its edit.
    """
    return _run_all(model, batch, layers, [hook for edit in edits for hook in edit.hooks(model, batch)])


def _run_all(model: Model, batch: Batch, layers: Sequence[int], hooks: Sequence[Hook]) -> LastToken:
    reader = Reader(model, layers)
    with hooked(model, [*hooks, *reader.hooks]):
        output = model.hf(**seen_inputs(model, batch), use_cache=False, logits_to_keep=1)
    return reader.result(output.logits)


@torch.inference_mode()
def prefill(model: Model, batch: Batch) -> Prefix:
    """Return the batch with all but its last prompt token run, unedited; run once and kept with the batch.

    Nothing is run of a model whose prompts cannot be taken up again: its one-token passes are then full passes.
    """
    if model.fingerprint in batch.kept:
        return batch.kept[model.fingerprint]
    if not model.one_token_passes:
        return Prefix(batch, None, batch.inputs["attention_mask"].sum(-1, keepdim=True) - 1)
    length = batch.inputs["input_ids"].shape[1]
    cut = {
        name: value[:, :-1] if isinstance(value, Tensor) and value.shape[1:] == (length,) else value
        for name, value in seen_inputs(model, batch).items()
    }
    positions, offsets = token_positions(model, batch)
    cache = model.hf(
        **cut, position_ids=positions[..., :-1], use_cache=True, logits_to_keep=1
    ).past_key_values
    if hasattr(cache, "activate_past_recording"):
        cache.activate_past_recording()  # sliding windows can then be put back as they were
    batch.kept[model.fingerprint] = Prefix(batch, cache, positions[..., -1:], offsets)
    return batch.kept[model.fingerprint]


@torch.inference_mode()
def run_last_token(
    model: Model, prefix: Prefix, layers: Sequence[int], hooks: Sequence[Hook] = ()
) -> LastToken:
    """Return what `run` returns, by running the last token alone; true of hooks that edit only that token."""
    if prefix.cache is None:
        return _run_all(model, prefix.batch, layers, hooks)
    reader = Reader(model, layers)
    inputs = prefix.batch.inputs
    with borrowed(model, prefix), hooked(model, [*hooks, *reader.hooks]):
        output = model.hf(
            input_ids=inputs["input_ids"][:, -1:],
            attention_mask=inputs["attention_mask"],
            position_ids=prefix.positions,
            past_key_values=prefix.cache,
            use_cache=True,
            logits_to_keep=1,
        )
    return reader.result(output.logits)


@contextmanager
def borrowed(model: Model, prefix: Prefix) -> Iterator[None]:
    """Let passes go on from the prefix, and take off again what they add to its keys and values.

    A pass that fails may have added to some layers alone: the prefix is then forgotten, and run anew when needed.
    """
    kept = prefix.cache.get_seq_length()
    if prefix.offsets is not None:
        model.hf.model.rope_deltas = prefix.offsets  # the model keeps those of the last batch it saw
    try:
        yield
    except BaseException:
        prefix.batch.kept.pop(model.fingerprint, None)
        raise
    prefix.cache.crop(kept - prefix.cache.get_seq_length())


class Reader:
    """Keeps a copy of one position at some layers while a pass runs; of the mean over `tokens`, if given."""

    def __init__(self, model: Model, layers: Sequence[int], tokens: Tensor | None = None):
        self.layers, self.tokens = list(layers), tokens
        self.kept: dict[int, Tensor] = {}
        self.hooks = [Hook(model.hook_name(layer), self._keep(layer)) for layer in dict.fromkeys(self.layers)]

    def _keep(self, layer: int) -> Callable[[Tensor], None]:
        def keep(residual: Tensor) -> None:
            # Copied on the device: a copy off it at each layer would make the pass wait there.
            self.kept[layer] = self._at_position(residual).detach()

        return keep

    def _at_position(self, residual: Tensor) -> Tensor:
        if self.tokens is None:
            return residual[:, -1].clone()
        chosen = self.tokens.to(residual.device)
        rows = zip(residual, chosen, strict=True)
        return torch.stack([states[mask].float().mean(0) for states, mask in rows])

    def states(self) -> Float[Tensor, "prompt layer d_model"]:
        """Return what was read, in the order of the layers asked for, on the device of the first."""
        read = [self.kept[layer] for layer in self.layers]
        return torch.stack([each.to(read[0].device) for each in read], 1)

    def result(self, logits: Tensor) -> LastToken:
        """Return states and logits of the last token, off the device."""
        states = self.states() if self.layers else torch.empty(logits.shape[0], 0, 0)
        return LastToken(states.to("cpu", torch.float32), logits[:, -1].float().cpu())


def _adapted(model: Model, hook: Hook) -> Callable[..., Tensor | None]:
    function, kind = hook.function, hook.name.rpartition(".")[2]

    def call(residual: Tensor, hook: object) -> Tensor | None:  # noqa: ARG001 - TransformerLens passes it by name
        return function(residual)

    def by_head(z: Tensor, hook: object) -> Tensor | None:  # noqa: ARG001
        new = function(z.flatten(2))  # the heads side by side, as with hooks="blocks"
        return None if new is None else new.view_as(z)

    def read_only(residual: Tensor, hook: object) -> None:  # noqa: ARG001
        if function(residual) is not None:
            raise ModelError(f"hook {name!r} of model {model.name} can be read, not edited; {remedy}")

    name, remedy = hook.name, read_only_hook(model, hook.name)
    return read_only if remedy else by_head if kind == "hook_z" else call
