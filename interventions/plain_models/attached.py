"""Apply an edit to a plain Hugging Face model by replacing its `forward` and `generate`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from inspect import Signature, signature
from threading import Lock, local
from typing import Any

import torch
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.hooks import Edit, Hook, hooked
from regap.geometry.forward.kv_cache import can_be_cropped
from regap.geometry.models.decoder import check_not_compiled
from regap.geometry.models.model import Model
from regap.geometry.models.stream import two_tokens
from regap.interventions.decoding import OTHER_TOKENS, Decoding, decode
from regap.interventions.edits.regap import ReGap
from regap.interventions.plain_models.calls import (
    Call,
    CalledPrompts,
    CallPrefix,
    check_findable,
    check_padding,
    columns_of,
    named_arguments,
)
from regap.interventions.plain_models.reach import check_reaches_logits, reuses_cache

REPLACED = ("forward", "generate", "generate_batch")
IN_PARTS = "the gate reads whole prompts, and this one comes in parts; leave out prefill_chunk_size and past_key_values"

KEPT_AS = "_regap_protection"
_SLOTS = Lock()


@dataclass(frozen=True)
class GateRecord:
    """What an edit did to one prompt."""

    signal: float | None
    """The signal of the gate; None for an edit without a gate."""
    strength: float
    """The multiple of the vectors that was removed."""

    @property
    def fired(self) -> bool:
        """True if anything was removed."""
        return self.strength != 0


@dataclass(eq=False)
class Answering:
    """One `generate`, or one call of the model, with its prompts and hooks."""

    columns: int
    """Number of columns of the prompts, which are padded on the left."""
    tokens: Tensor | None = field(default=None, repr=False)
    """Token ids of whole prompts, [prompt, column]; None for embeddings and calls outside `generate`."""
    hooks: list[Hook] | None = None
    """None until the edit has read the prompts."""
    batch: CalledPrompts | None = None


class _Last(local):
    """The last call in this thread."""

    answering: Answering | None = None


@dataclass(eq=False)
class Attached:
    """An edit on a plain model, for its `forward` and `generate`."""

    hf: Any = field(repr=False)
    edit: Edit
    told: str = "edited"
    """The state of the model, in messages."""
    remedy: str = "leave the `with`"
    before: dict[str, Any] = field(default_factory=dict, repr=False)
    """Replacements of `forward` and `generate` that the model had already."""
    current: ContextVar[Answering | None] = field(
        default_factory=lambda: ContextVar("current", default=None), repr=False
    )
    """The `generate` that is running in this thread."""
    calls: int = 0
    """Number of calls of `forward` so far."""
    last: _Last = field(default_factory=_Last, repr=False)
    state: tuple[Any, ...] = field(default=(), repr=False)
    """`state_of` the model when the edit was attached, to detect changed weights."""
    reusable: bool = False
    """True if the model's KV cache can be put back after a pass."""
    trial: bool = False
    """True while two tokens are answered as a test."""
    model: Model = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.model = Model.of_plain(self.hf)

    def put_on(self) -> None:
        """Replace the model's `forward` and `generate`, and discard earlier compiled code of the model."""
        torch.compiler.reset()
        own = vars(self.hf)
        self.before = {name: own[name] for name in REPLACED if name in own}
        for name, edited in (("forward", self._forward), ("generate", self._generate)):
            setattr(self.hf, name, _standing_for(getattr(self.hf, name), edited))
        if hasattr(self.hf, "generate_batch"):
            self.hf.generate_batch = self._no_batches

    def take_off(self) -> None:
        """Restore the model's `forward` and `generate`."""
        torch.compiler.reset()
        for name in REPLACED:
            vars(self.hf).pop(name, None)
        vars(self.hf).update(self.before)

    def record(self) -> tuple[GateRecord, ...]:
        """Return what was done to each prompt of this thread's last call; empty if there was none."""
        answering = self.last.answering
        batch = None if answering is None else answering.batch
        if batch is None:
            return ()
        if isinstance(self.edit, ReGap):
            signal, strengths = batch.kept.get("gate", (None, None))
            if signal is None:
                return ()
            pairs = zip(signal.tolist(), strengths.tolist(), strict=True)
            return tuple(GateRecord(float(read), float(strength)) for read, strength in pairs)
        return (GateRecord(None, float(getattr(self.edit, "strength", 1.0))),) * len(batch)

    def __deepcopy__(self, memo: object) -> Any:
        raise ModelError(
            f"the model is {self.told}, and a copy would call the original; {self.remedy} before copying it"
        )

    def __reduce__(self) -> Any:
        raise ModelError(f"the model is {self.told}, and cannot be pickled; {self.remedy} first")

    def _generate(self, generate: Callable[..., Any], known: Signature, args: Any, kwargs: Any) -> Any:
        given = named_arguments(known, args, kwargs)
        self._refuse(given)
        ids = given.get("inputs", given.get("input_ids"))
        answering = Answering(columns_of(given), ids if given.get("inputs_embeds") is None else None)
        token = self.current.set(answering)
        try:
            check_padding(given.get("attention_mask"))
            answer = generate(*args, **kwargs)
        finally:
            self.current.reset(token)
        if answering.hooks is None:
            raise ModelError(
                f"the model's `forward` was replaced while it is {self.told}, so that its prompts were not edited; "
                f"{self.remedy} before replacing it"
            )
        return answer

    def _forward(self, forward: Callable[..., Any], known: Signature, args: Any, kwargs: Any) -> Any:
        self.calls += 1
        inputs = named_arguments(known, args, kwargs)
        cache = inputs.get("past_key_values")
        first = 0 if cache is None else int(cache.get_seq_length())
        answering = self.current.get()
        if answering is None:
            if first:
                return forward(*args, **kwargs)  # outside `generate`, a call with past keys is not a prompt
            check_padding(inputs.get("attention_mask"))
            answering = Answering(Call(forward, inputs, 0, 0).end)
        call = Call(forward, inputs, first, answering.columns)
        if answering.hooks is None:
            reached = not self.edit.only_last or first < call.prompt <= call.end
            if not reached:
                return forward(*args, **kwargs)
            call = self._decide(call, answering)
        assert answering.hooks is not None
        with hooked(self.model, answering.hooks):
            return call.run()

    def _decide(self, call: Call, answering: Answering) -> Call:
        """Let the edit read the prompts, and return the rest of the call, to be run under its hooks."""
        self._check_weights()
        check_not_compiled(self.hf, itself=False)
        reads = isinstance(self.edit, ReGap)
        repeatable = self._can_go_on(call)
        if reads and (
            call.end != call.prompt
            or (call.first and not (self.edit.only_last and (repeatable or self._single)))
        ):
            raise ModelError(IN_PARTS)
        rows = tuple(range(len(call.tokens)))
        media = self.model.image_token, self.model.audio_token
        known = _known_tokens(call, answering.tokens)
        batch = CalledPrompts(known, rows, *media, width=call.prompt, trial=self.trial)
        prefix = CallPrefix(batch, call=call, repeatable=repeatable)
        batch.kept[self.model.fingerprint] = prefix
        answering.hooks, answering.batch = self.edit.hooks(self.model, batch), batch
        self.last.answering = answering
        assert prefix.call is not None
        batch.kept.pop(self.model.fingerprint)  # frees the prompts' keys and values while they are answered
        return prefix.call

    @property
    def _single(self) -> bool:
        return isinstance(self.edit, ReGap) and self.edit.passes == "single"

    def _can_go_on(self, call: Call) -> bool:
        """Return True if the prompts can be run up to their last token, and continued from there repeatedly."""
        inputs, mask = call.inputs, call.inputs.get("attention_mask")
        return (
            self.edit.only_last
            and self.reusable
            and call.end == call.prompt
            and inputs.get("use_cache") is True
            and inputs.get("position_ids") is not None
            and (mask is None or (isinstance(mask, Tensor) and mask.ndim == 2))
            and call.cache is not None
            and can_be_cropped(call.cache)
            and not (inputs.get("output_hidden_states") or inputs.get("output_attentions"))
        )

    def _check_weights(self) -> None:
        if self.state and self.state != state_of(self.hf):
            raise ModelError(
                f"the weights or dtype of the model changed while it was {self.told}; {self.remedy}, and "
                "do it again"
            )

    def _refuse(self, given: dict[str, Any]) -> None:
        configs = [given.get("generation_config"), self.hf.generation_config]
        for name, neutral in OTHER_TOKENS.items():
            settings = [given.get(name), *(getattr(config, name, None) for config in configs)]
            chosen = next((value for value in settings if value is not None), neutral)
            if chosen != neutral:
                raise ModelError(
                    f"{name} cannot be used while the model is {self.told}; leave it out, or {self.remedy}"
                )
        if given.get("cache_implementation") == "paged":
            raise ModelError(
                f"cache_implementation 'paged' cannot be used while the model is {self.told}; leave it out"
            )

    def _no_batches(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - accepts any arguments
        raise ModelError(
            f"generate_batch cannot be used while the model is {self.told}; use generate, or {self.remedy}"
        )


def attach(
    hf: Any,
    edit: Edit,
    prepare: Callable[[], None] = lambda: None,
    told: str = "edited",
    remedy: str = "leave the `with`",
) -> None:
    """Edit every prompt of the model until `detach`; the model is reserved first, so that only one thread does it.

    `prepare` may refuse the model before it is touched. Raises ModelError for a position that takes a processor to
    find, and for a model that is edited already, whose layout is not known, or whose logits an edit does not reach.
    """
    with _SLOTS:
        if KEPT_AS in vars(hf):
            held = vars(hf)[KEPT_AS]
            words = getattr(held, "told", "edited"), getattr(held, "remedy", "wait for the other thread")
            raise ModelError(f"the model is {words[0]} already; {words[1]} first")
        vars(hf)[KEPT_AS] = None
    try:
        attached = Attached(hf, edit, told, remedy)
        prepare()
        check_findable(edit)
        check_not_compiled(hf)
        check_reaches_logits(attached.model)
        attached.reusable = edit.only_last and reuses_cache(attached.model)
        attached.state = state_of(hf)
        attached.put_on()
        try:
            check_generates_here(attached)
        except BaseException:
            attached.take_off()
            raise
        vars(hf)[KEPT_AS] = attached
    except BaseException:
        vars(hf).pop(KEPT_AS)
        raise


def detach(hf: Any) -> None:
    """Restore the model to its state before `attach`; raises ModelError if nothing is attached."""
    with _SLOTS:
        held = vars(hf).get(KEPT_AS)
        if held is None:
            raise ModelError("the model is neither protected nor edited; call protect(model, pack) first")
        vars(hf).pop(KEPT_AS)
    held.take_off()


@contextmanager
def edited(hf: Any, edit: Edit) -> Iterator[Any]:
    """Edit every prompt of the plain Hugging Face model inside the `with`; afterwards the model is restored."""
    attach(hf, edit)
    try:
        yield hf
    finally:
        detach(hf)


def check_generates_here(attached: Attached) -> None:
    """Raise ModelError if `generate` does not use the replaced `forward`, as in some wrappers."""
    hf, before = attached.hf, attached.calls
    if not getattr(hf, "can_generate", lambda: False)():
        return
    tokens = two_tokens(attached.model)
    attached.trial = True
    decode(hf, None, {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}, Decoding(1))
    attached.trial, attached.last.answering = False, None
    if attached.calls == before:
        raise ModelError(
            f"`generate` of {type(hf).__name__} does not use the replaced `forward`; give the model that it wraps"
        )


def state_of(hf: Any) -> tuple[Any, ...]:
    """Return a value that differs after weights are changed, moved or converted; weights are not read."""
    return tuple(
        (each.data_ptr(), each.dtype, -1 if each.is_inference() else each._version)
        for each in hf.parameters()
    )


def _known_tokens(call: Call, whole: Tensor | None) -> dict[str, Tensor]:
    """Return the token ids of all columns by name; nothing if some are not known.

    A call may hold only a part of the prompts, and several rows for each prompt, as in beam search.
    """
    ids = call.inputs.get("input_ids") if call.first == 0 and whole is None else whole
    if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.shape[1] != call.prompt:
        return {}
    return {"input_ids": ids.repeat_interleave(len(call.tokens) // len(ids), 0)}


def _standing_for(original: Callable[..., Any], edited: Callable[..., Any]) -> Callable[..., Any]:
    known = signature(original)
    eager: Any = torch.compiler.disable(edited)  # a compiled pass would run without the hooks

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return eager(original, known, args, kwargs)

    return call
