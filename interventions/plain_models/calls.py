"""One call of a plain model: its columns, its prompts, and the part of it that is left to run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from inspect import Parameter, Signature
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.hooks import TOKENS, hooked
from regap.geometry.forward.kv_cache import record_windows
from regap.geometry.forward.prefix import Prefix
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.chosen_tokens import one_each
from regap.geometry.prompts.positions import MEDIA, Position, Positions
from regap.interventions.edits.site import Site

BY_LAST = ("position_ids", "token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids", "cache_position")
"""Inputs with one entry per token along their last dimension."""
EVERY_PART = ("attention_mask", "past_key_values", "use_cache", "return_dict", "logits_to_keep")
"""Further inputs of a pass of only the last token; pictures are in the KV cache by then."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a model's forward, and the columns of prompts and answers that it runs."""

    forward: Callable[..., Any] = field(repr=False)
    inputs: Mapping[str, Any] = field(repr=False)
    first: int
    """Column of its first token: the number of tokens in the KV cache."""
    prompt: int
    """Number of columns of the prompts."""

    @property
    def tokens(self) -> Tensor:
        """Its tokens, [prompt, token], or their embeddings, [prompt, token, d_model]."""
        given = self.inputs.get("inputs_embeds")
        return self.inputs["input_ids"] if given is None else given

    @property
    def end(self) -> int:
        """The column after its last token."""
        return self.first + self.tokens.shape[1]

    @property
    def cache(self) -> Any:
        """Keys and values of earlier tokens, None if there are none."""
        return self.inputs.get("past_key_values")

    def run(self) -> Any:
        """Return the model's output."""
        return self.forward(**self.inputs)

    def all_but_last(self) -> "Call":
        """Return the call of every token but the last."""
        return replace(
            self, inputs={name: _cut(name, each, slice(None, -1)) for name, each in self.inputs.items()}
        )

    def last_token(self) -> "Call":
        """Return the call of only the last token, to be run when all others are in the KV cache."""
        kept = {name: value for name, value in self.inputs.items() if name in EVERY_PART}
        last = {
            name: _cut(name, value, slice(-1, None))
            for name, value in self.inputs.items()
            if name in (*TOKENS, *BY_LAST)
        }
        return replace(self, inputs={**kept, **last}, first=self.end - 1)


FINDABLE = "last, all, image, audio, or one token of an image or a sound, such as image[0]"
"""Positions that can be found without the processor, in words."""


def can_be_found(positions: Positions) -> bool:
    """Return True if the position can be found without a processor, which knows words and pictures."""
    position = Position.of(positions)
    whole = position.index is None and position.rule is None and position.role in ("last", "all")
    return whole or (position.role in MEDIA and position.rule is None)


def sites_of(edit: Any) -> list[Site]:
    """Return every site of an edit, those of the edits that it holds included."""
    if is_dataclass(edit):
        held = [getattr(edit, each.name) for each in fields(edit)]
        return [site for each in held for site in ([each] if isinstance(each, Site) else sites_of(each))]
    return []


def check_findable(edit: Any) -> None:
    """Raise ModelError for an edit at a position that cannot be found without a processor."""
    for site in sites_of(edit):
        if not can_be_found(site.positions):
            raise ModelError(
                f"the edit has positions {site.positions!r}, which cannot be found without a processor; use "
                f"{FINDABLE}; or edit the model under hooks, with generate(load(model, processor=...), ..., edits=...)"
            )


@dataclass(frozen=True, eq=False)
class CalledPrompts(Batch):
    """The prompts of a call of a plain model; without a processor, only the tokens of images and sounds are known."""

    width: int = 0
    """Number of columns."""
    trial: bool = False
    """True for the tokens of a test, which need not have the token that an edit names."""

    def __post_init__(self) -> None:
        """Do nothing; padding is checked when `generate` and `forward` are called."""

    @property
    def columns(self) -> int:
        """Number of tokens of the prompts, padding included."""
        return self.width

    def at(self, positions: Positions) -> Bool[Tensor, "prompt token"]:
        """Return True at a position that `can_be_found`; raises ModelError for a prompt without the token it names."""
        position = Position.of(positions)
        if position.role in MEDIA:
            found = getattr(self, position.role)
            return found if position.index is None or self.trial else one_each(found, position, self.rows)
        found = torch.full((1, self.width), position.role == "all")
        found[:, -1] = True
        return found

    def _of(self, token: int | None) -> Bool[Tensor, "prompt token"]:
        """Return the columns of a token."""
        ids = self.inputs.get("input_ids")
        if ids is None:
            raise ModelError(
                "the edit acts at the tokens of images or sounds, which cannot be told among embeddings or in a KV "
                "cache; give input_ids of the whole prompts"
            )
        return torch.zeros_like(ids, dtype=torch.bool) if token is None else ids == token


@dataclass(eq=False)
class CallPrefix(Prefix):
    """The part of a call that is left to run, on its own KV cache."""

    call: Call | None = field(default=None, repr=False)
    repeatable: bool = False
    """True if all but the last token can be kept in the KV cache."""
    inference: bool = field(default_factory=torch.is_inference_mode_enabled)
    """True if the caller is in PyTorch's inference mode; otherwise it could not write to tensors of that mode."""

    @property
    def whole(self) -> bool:
        """True if every pass runs the whole call."""
        return not self.repeatable

    def run(self, model: Model, hooks: Any, reading: Any = ()) -> Any:
        """Return the model's output for the part that is left, under the hooks; the last token, or all, is left
        again."""
        with torch.inference_mode(self.inference), torch.no_grad():
            return self._run(model, hooks, reading)

    def _run(self, model: Model, hooks: Any, reading: Any) -> Any:
        if self.repeatable:
            self._run_ahead(bool(hooks))
        assert self.call is not None
        with hooked(model, [*hooks, *reading]):
            output = self.call.run()
        if self.repeatable:
            self.call.cache.crop(-1)
            self.call = self.call if self.call.tokens.shape[1] == 1 else self.call.last_token()
        elif self.call.cache is not None:
            self.call.cache.reset()
        return output

    def _run_ahead(self, edited: bool) -> None:
        """Put all but the last token into the KV cache, unless the next pass is unedited and does so itself."""
        assert self.call is not None
        slides = any(getattr(self.call.cache, "is_sliding", ()))
        if self.call.tokens.shape[1] > 1 and (edited or slides):
            self.call.all_but_last().run()
            self.call = self.call.last_token()
        if slides:
            record_windows(self.call.cache)


def named_arguments(known: Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return every argument by name, including those in **kwargs."""
    named: dict[str, Any] = {}
    for name, value in known.bind_partial(*args, **kwargs).arguments.items():
        named |= value if known.parameters[name].kind is Parameter.VAR_KEYWORD else {name: value}
    return named


def columns_of(given: dict[str, Any]) -> int:
    """Return the number of columns of the prompts of a `generate`, including those in its KV cache."""
    mask, tokens = given.get("attention_mask"), given.get("inputs_embeds")
    if isinstance(mask, Tensor):
        return mask.shape[1]
    tokens = given.get("inputs", given.get("input_ids")) if tokens is None else tokens
    return 1 if tokens is None else tokens.shape[1]


def check_padding(mask: Any) -> None:
    """Raise ModelError for prompts that are padded on the right."""
    if isinstance(mask, Tensor) and mask.ndim == 2 and not bool(mask[:, -1].all()):
        raise ModelError("prompts are padded on the right; set tokenizer.padding_side = 'left'")


def _cut(name: str, value: Any, part: slice) -> Any:
    if not isinstance(value, Tensor):
        return value
    if name in (*TOKENS, "attention_mask"):
        return value[:, part]
    return value[..., part] if name in BY_LAST else value
