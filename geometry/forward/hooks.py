"""Place functions on hook points, to read and change residual streams while a model runs."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident, local
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ConfigError, ModelError, first_line
from regap.geometry.models.hook_points import hook_point
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch

Residual = Float[Tensor, "prompt token d_model"]


@dataclass(frozen=True)
class Hook:
    """A function on one hook point; it receives the residual stream there and returns the new one."""

    name: str
    """Canonical TransformerLens name, as Model.hook_name returns it."""
    function: Callable[[Residual], Residual | None]
    """Returns a new tensor, or None to change nothing; must not write to its input."""


@runtime_checkable
class Edit(Protocol):
    """What a forward pass needs to know about an intervention."""

    @property
    def identity(self) -> str:
        """Digest of everything that decides the edit's effect; edits with equal identities have equal effects."""
        ...

    @property
    def only_last(self) -> bool:
        """True if the edit changes only the last prompt token and later ones, so that one-token passes are exact."""
        ...

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return new hooks for one pass, or one generation, over this batch."""
        ...


def as_edits(given: Any) -> tuple[Any, ...]:
    """Return one edit, or several, as a tuple; raises ConfigError for anything that is not an edit."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    found: tuple[Any, ...] = tuple(given) if several else (given,)
    for each in found:
        if not hasattr(each, "hooks") or not hasattr(each, "only_last"):
            raise ConfigError(f"edits is {each!r}; give an edit or a list of edits, as shift and edit return")
    return found


TOKENS = ("input_ids", "inputs_embeds")
"""What a decoder is called with: token ids, or their embeddings."""
MISMATCH = re.compile("([Ii]mage|[Aa]udio) (features|tokens).*do not match|do not match.*([Ii]mage|[Aa]udio)")
"""Part of transformers' messages about a processor that is not the model's."""


class _Columns(local):
    """The first column of this thread's current pass: the number of tokens in its KV cache."""

    first: int | None = None


_RUNNING = _Columns()


@contextmanager
def hooked(model: Model, hooks: Sequence[Hook]) -> Iterator[None]:
    """Run the model with these hooks, in this thread only; they are removed afterwards, also after an exception.

    Several hooks at one point run in the order given. Raises ModelError, before the model is touched, for a name that
    is not a hook of the model; and for prompts of a processor that is not the model's.
    """
    points = [hook_point(model, hook.name) for hook in hooks]
    owner, before = get_ident(), _RUNNING.first
    handles: list[Any] = []
    try:
        if hooks:
            handles.append(model.decoder.register_forward_pre_hook(_counting(owner), with_kwargs=True))
        for point, hook in zip(points, hooks, strict=True):
            handles.append(point.attach(_own(hook.function, owner)))
        yield
    except ValueError as error:
        if isinstance(error, ModelError) or not MISMATCH.search(str(error)):
            raise
        raise ModelError(
            f"model {model.name}: {first_line(error)}; its processor counts tokens of images or sounds in another way "
            "than the model, so use the processor that belongs to it, with its own patch_size, image_seq_length and "
            "vision_feature_select_strategy"
        ) from None
    finally:
        for handle in handles:
            handle.remove()
        _RUNNING.first = before


def first_column(residual: Tensor, columns: int) -> int:
    """Return the first column of a residual stream; column 0 is the first of the prompt, padding included.

    `columns` is the number of columns of the prompts. Outside `hooked`, the last column is taken as the end of the
    prompts.
    """
    return columns - residual.shape[1] if _RUNNING.first is None else _RUNNING.first


def _counting(owner: int) -> Callable[..., None]:
    ran = [0]

    def count(module: Any, args: Any, kwargs: dict[str, Any] | None = None) -> None:  # noqa: ARG001
        # PyTorch adds and removes a hook in two steps; a pass of another thread between them gives no kwargs.
        if get_ident() != owner or kwargs is None:
            return
        cache = kwargs.get("past_key_values", kwargs.get("cache_params"))
        _RUNNING.first = _length(cache, ran[0])
        given: Any = next((kwargs[name] for name in TOKENS if kwargs.get(name) is not None), None)
        given = args[0] if given is None and args else given
        ran[0] = _RUNNING.first + (0 if given is None else given.shape[1])

    return count


def _length(cache: Any, ran: int) -> int:
    """Return the number of tokens in a cache; a recurrent state does not say, so there it is the number that ran."""
    if cache is None:
        return 0
    if getattr(cache, "is_linear", None) and all(cache.is_linear):
        return ran if cache.has_previous_state() else 0
    return int(cache.get_seq_length())


def _own(function: Callable[[Tensor], Tensor | None], owner: int) -> Callable[[Tensor], Tensor | None]:
    def call(residual: Tensor) -> Tensor | None:
        return function(residual) if get_ident() == owner else None

    return call


class PassEnds(Exception):
    """Ends a pass once everything asked for has been read."""


def ends_after(model: Model, layer: int) -> Hook:
    """Return a hook that ends the pass after block `layer`; it raises PassEnds, and must stand last."""

    def end(residual: Tensor) -> None:  # noqa: ARG001 - a hook receives the residual stream
        raise PassEnds

    return Hook(model.hook_name(layer), end)


class Reader:
    """Copies the last position, or the mean over `tokens`, at some layers while a pass runs."""

    def __init__(self, model: Model, layers: Sequence[int], tokens: Tensor | None = None):
        self.layers, self.tokens = list(layers), tokens
        self.kept: dict[int, Tensor] = {}
        self.hooks = [Hook(model.hook_name(layer), self._keep(layer)) for layer in dict.fromkeys(self.layers)]

    def _keep(self, layer: int) -> Callable[[Tensor], None]:
        def keep(residual: Tensor) -> None:
            # Copied on the device: copying to the CPU at each layer would make the pass wait.
            self.kept[layer] = self._at_position(residual).detach()

        return keep

    def _at_position(self, residual: Tensor) -> Tensor:
        if self.tokens is None:
            return residual[:, -1].clone()
        chosen = self.tokens.to(residual.device)
        rows = zip(residual, chosen, strict=True)
        return torch.stack([states[mask].float().mean(0) for states, mask in rows])

    def states(self) -> Float[Tensor, "prompt layer d_model"]:
        """Return the states in the order of the layers asked for, on the device of the first layer."""
        read = [self.kept[layer] for layer in self.layers]
        return torch.stack([each.to(read[0].device) for each in read], 1)
