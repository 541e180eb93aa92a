"""An edit on a plain Hugging Face model: its `forward` and `generate` are replaced, and each pass knows its columns."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import wraps
from inspect import Parameter, Signature, signature
from threading import Lock, local
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.hooks import Edit, Hook, hooked
from regap.geometry.forward.prefix import Prefix, can_be_cropped, record_windows
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.positions import Positions
from regap.interventions.edits.regap import ReGap

REFUSED = {
    "assistant_model": None,
    "assistant_early_exit": None,
    "prompt_lookup_num_tokens": None,
    "use_mtp": False,
    "custom_generate": None,
    "token_healing": False,
    "guidance_scale": 1.0,
    "penalty_alpha": 0.0,
    "dola_layers": None,
    "constraints": None,
    "force_words_ids": None,
}
"""Settings of `generate` under which a call of the model runs other tokens than a prompt and its answer."""
REPLACED = ("forward", "generate", "generate_batch")
IN_PARTS = "the gate reads whole prompts, and this one comes in parts; leave out prefill_chunk_size and past_key_values"
TOKENS = ("input_ids", "inputs_embeds")
BY_LAST = ("position_ids", "token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids", "cache_position")
"""Inputs with one entry a token, along their second or their last dimension."""
EVERY_PART = ("attention_mask", "past_key_values", "use_cache", "return_dict", "logits_to_keep")
"""What the last token alone is run with besides; pictures are in the KV cache by then."""
KEPT_AS = "_regap_protection"
_SLOTS = Lock()


@dataclass(frozen=True)
class GateRecord:
    """What the gate of an edit did to one prompt."""

    signal: float | None
    """What the gate read; None of an edit without a gate."""
    strength: float
    """Multiple of the vectors that was removed."""

    @property
    def fired(self) -> bool:
        """True if anything was removed."""
        return self.strength != 0


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a model's forward, and which columns of the prompts and their answers it runs."""

    forward: Callable[..., Any] = field(repr=False)
    inputs: Mapping[str, Any] = field(repr=False)
    first: int
    """Column of its first token: how many the KV cache holds already."""
    prompt: int
    """How many columns the prompts have."""

    @property
    def tokens(self) -> Tensor:
        """What it runs, [prompt, token] or [prompt, token, d_model]."""
        given = self.inputs.get("inputs_embeds")
        return self.inputs["input_ids"] if given is None else given

    @property
    def end(self) -> int:
        """The column after its last one."""
        return self.first + self.tokens.shape[1]

    @property
    def cache(self) -> Any:
        """Keys and values of what came before, None if there are none."""
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
        """Return the call of the last token alone, to be run once all before it is in the KV cache."""
        kept = {name: value for name, value in self.inputs.items() if name in EVERY_PART}
        last = {
            name: _cut(name, value, slice(-1, None))
            for name, value in self.inputs.items()
            if name in (*TOKENS, *BY_LAST)
        }
        return replace(self, inputs={**kept, **last}, first=self.end - 1)


@dataclass(frozen=True, eq=False)
class CalledPrompts(Batch):
    """The prompts of a call of a plain model; no processor tells where their parts are."""

    width: int = 0
    """How many columns they have."""

    def __post_init__(self) -> None:
        """Nothing is checked here: `generate` and `forward` are looked at when they are called."""

    @property
    def columns(self) -> int:
        """How many tokens the prompts have, padding counted."""
        return self.width

    def at(self, positions: Positions) -> Bool[Tensor, "prompt token"]:
        """Return where the last token is, or all of them; raises ModelError for other positions."""
        if positions not in ("last", "all"):
            raise ModelError(
                f"the edit is at the positions {positions!r}, which a plain model cannot tell; use last or all"
            )
        found = torch.full((1, self.width), positions == "all")
        found[:, -1] = True
        return found


@dataclass(eq=False)
class CallPrefix(Prefix):
    """What is left to be run of a call, on its own KV cache."""

    call: Call | None = field(default=None, repr=False)
    repeatable: bool = False
    """True if all but the last token can be kept in the KV cache."""

    @property
    def whole(self) -> bool:
        """True if every pass runs the whole call."""
        return not self.repeatable

    def run(self, model: Model, hooks: Any, reading: Any = ()) -> Any:
        """Return the model's output for what is left under the hooks; afterwards the last token is left, or all."""
        # Tensors of inference mode could not be written to by the passes that follow.
        with torch.inference_mode(False), torch.no_grad():
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
        """Have all but the last token in the KV cache, unless an unedited pass is about to put it there."""
        assert self.call is not None
        slides = any(getattr(self.call.cache, "is_sliding", ()))
        if self.call.tokens.shape[1] > 1 and (edited or slides):
            self.call.all_but_last().run()
            self.call = self.call.last_token()
        if slides:
            record_windows(self.call.cache)


@dataclass(eq=False)
class Answering:
    """One `generate`, or one call of the model: its prompts, and the hooks they are answered under."""

    columns: int
    """Where the prompts end; they are padded on the left."""
    hooks: list[Hook] | None = None
    """None until the edit has looked at the prompts."""
    batch: CalledPrompts | None = None


class _Last(local):
    """What was answered last in this thread."""

    answering: Answering | None = None


@dataclass(eq=False)
class Attached:
    """A plain model whose prompts are edited, in calls and in generations."""

    hf: Any = field(repr=False)
    edit: Edit
    told: str = "edited"
    """What the model is, in messages."""
    remedy: str = "leave the `with`"
    before: dict[str, Any] = field(default_factory=dict, repr=False)
    """What of `forward` and `generate` had been replaced on the model already."""
    current: ContextVar[Answering | None] = field(
        default_factory=lambda: ContextVar("current", default=None), repr=False
    )
    """The generation that is running in this thread."""
    calls: int = 0
    """How many passes of the model came by here."""
    last: _Last = field(default_factory=_Last, repr=False)
    state: tuple[Any, ...] = field(default=(), repr=False)
    """What tells that the model's weights are still those it was given with."""
    model: Model = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.model = Model.of_plain(self.hf)

    def put_on(self) -> None:
        """Replace the model's `forward` and `generate`."""
        own = vars(self.hf)
        self.before = {name: own[name] for name in REPLACED if name in own}
        for name, edited in (("forward", self._forward), ("generate", self._generate)):
            setattr(self.hf, name, _standing_for(getattr(self.hf, name), edited))
        if hasattr(self.hf, "generate_batch"):
            self.hf.generate_batch = self._no_batches

    def take_off(self) -> None:
        """Leave the model as it was."""
        for name in REPLACED:
            vars(self.hf).pop(name, None)
        vars(self.hf).update(self.before)

    def record(self) -> tuple[GateRecord, ...]:
        """Return what was done to each prompt of this thread's last answer; empty if there is none."""
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
            f"the model is {self.told}, and a copy would run the original; {self.remedy} before copying it"
        )

    def __reduce__(self) -> Any:
        raise ModelError(f"the model is {self.told}, and cannot be pickled; {self.remedy} first")

    def _generate(self, generate: Callable[..., Any], known: Signature, args: Any, kwargs: Any) -> Any:
        given = _named(known, args, kwargs)
        self._refuse(given)
        token = self.current.set(Answering(_columns(given)))
        try:
            _check_padding(given.get("attention_mask"))
            return generate(*args, **kwargs)
        finally:
            self.current.reset(token)

    def _forward(self, forward: Callable[..., Any], known: Signature, args: Any, kwargs: Any) -> Any:
        self.calls += 1
        inputs = _named(known, args, kwargs)
        cache = inputs.get("past_key_values")
        first = 0 if cache is None else int(cache.get_seq_length())
        answering = self.current.get()
        if answering is None:
            if first:
                return forward(*args, **kwargs)  # outside `generate`, a call with a past is no prompt
            _check_padding(inputs.get("attention_mask"))
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
        """Have the edit look at the prompts, and return the call that is left to be run under its hooks."""
        self._check_weights()
        reads = isinstance(self.edit, ReGap)
        repeatable = self._can_go_on(call)
        if reads and (
            call.end != call.prompt
            or (call.first and not (self.edit.only_last and (repeatable or self._single)))
        ):
            raise ModelError(IN_PARTS)
        rows = tuple(range(len(call.tokens)))
        batch = CalledPrompts({}, rows, width=call.prompt)
        prefix = CallPrefix(batch, call=call, repeatable=repeatable)
        batch.kept[self.model.fingerprint] = prefix
        answering.hooks, answering.batch = self.edit.hooks(self.model, batch), batch
        self.last.answering = answering
        assert prefix.call is not None
        batch.kept.pop(self.model.fingerprint)  # nothing of the prompts is held while they are answered
        return prefix.call

    @property
    def _single(self) -> bool:
        return isinstance(self.edit, ReGap) and self.edit.passes == "single"

    def _can_go_on(self, call: Call) -> bool:
        """True if the prompts can be run up to their last token, and gone on from as often as needed."""
        inputs, mask = call.inputs, call.inputs.get("attention_mask")
        return (
            self.edit.only_last
            and self.model.one_token_passes
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
                f"weights or number format of the model were changed while it is {self.told}; {self.remedy}, and "
                "do it again"
            )

    def _refuse(self, given: dict[str, Any]) -> None:
        configs = [given.get("generation_config"), self.hf.generation_config]
        for name, neutral in REFUSED.items():
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

    def _no_batches(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - whatever it is called with
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
    """Edit every prompt of the model until `detach`; the model is reserved first, so that one thread alone does it.

    `prepare` may refuse the model before it is touched. Raises ModelError for a model that is edited already, whose
    layout is not known, or whose logits an edit does not reach.
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
        check_reaches_logits(attached.model)
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
    """Leave the model as it was before `attach`; raises ModelError if nothing is attached."""
    with _SLOTS:
        held = vars(hf).get(KEPT_AS)
        if held is None:
            raise ModelError("the model is not protected and not edited; there is nothing to take off")
        vars(hf).pop(KEPT_AS)
    held.take_off()


@contextmanager
def edited(hf: Any, edit: Edit) -> Iterator[Any]:
    """Edit every prompt that the plain Hugging Face model is given while this lasts; then it is as it was."""
    attach(hf, edit)
    try:
        yield hf
    finally:
        detach(hf)


@torch.no_grad()
def check_reaches_logits(model: Model) -> None:
    """Raise ModelError unless a change of a block's output changes the logits of a pass of two tokens.

    A model that was compiled before, or that hands its work to another, may run without our hooks.
    """
    tokens = _two_tokens(model)
    seen: list[int] = []

    def change(residual: Tensor) -> Tensor:
        seen.append(1)
        noise = torch.linspace(-1, 1, residual.shape[-1], device=residual.device, dtype=residual.dtype)
        return residual + noise * residual.abs().mean().clamp_min(1e-2)

    layer = next(each for each in range(model.layers) if each not in model.crossing)
    try:
        before = model.hf(input_ids=tokens, use_cache=False).logits
        with hooked(model, [Hook(model.hook_name(layer), change)]):
            after = model.hf(input_ids=tokens, use_cache=False).logits
    except ModelError:
        raise
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"model {model.name} cannot be run to find out whether an edit reaches its logits ({said}); give the model "
            "itself, not compiled and not wrapped"
        ) from error
    if not seen or torch.equal(before, after):
        raise ModelError(
            f"an edit of block {layer} does not reach the logits of model {model.name}: it was compiled, or its work "
            "is done elsewhere; give the model itself, and compile it afterwards if at all"
        )


def check_generates_here(attached: Attached) -> None:
    """Raise ModelError if `generate` runs the model past the `forward` that was replaced, as some wrappers do."""
    hf, before = attached.hf, attached.calls
    if not getattr(hf, "can_generate", lambda: False)():
        return
    tokens = _two_tokens(attached.model)
    hf.generate(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=1,
        do_sample=False,
        pad_token_id=0,
    )
    attached.last.answering = None
    if attached.calls == before:
        raise ModelError(
            f"`generate` of {type(hf).__name__} does not run the `forward` that was replaced; give the model it wraps"
        )


def _two_tokens(model: Model) -> Tensor:
    """Two tokens that stand for words: no part of an image, and none that ends an answer."""
    configs = [model.hf.config, model.hf.config.get_text_config()]
    special = {
        value
        for config in configs
        for name, value in config.to_dict().items()
        if name.endswith(("token_id", "token_index")) and isinstance(value, int)
    }
    chosen = next(token for token in range(10, 10 + len(special) + 1) if token not in special)
    device = next((each.device for each in model.hf.parameters() if each.device.type != "meta"), None)
    return torch.full((1, 2), chosen, dtype=torch.long, device=device)


def state_of(hf: Any) -> tuple[Any, ...]:
    """Return what changes when weights are changed, moved or converted; no number is read."""
    return tuple(
        (each.data_ptr(), each.dtype, -1 if each.is_inference() else each._version)
        for each in hf.parameters()
    )


def _standing_for(original: Callable[..., Any], edited: Callable[..., Any]) -> Callable[..., Any]:
    known = signature(original)

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return edited(original, known, args, kwargs)

    return call


def _named(known: Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    """Every argument by its name, those that a function takes as **kwargs among them."""
    named: dict[str, Any] = {}
    for name, value in known.bind_partial(*args, **kwargs).arguments.items():
        named |= value if known.parameters[name].kind is Parameter.VAR_KEYWORD else {name: value}
    return named


def _columns(given: dict[str, Any]) -> int:
    """How many columns the prompts of a `generate` have, those that its KV cache holds among them."""
    mask, tokens = given.get("attention_mask"), given.get("inputs_embeds")
    if isinstance(mask, Tensor):
        return mask.shape[1]
    tokens = given.get("inputs", given.get("input_ids")) if tokens is None else tokens
    return 1 if tokens is None else tokens.shape[1]


def _check_padding(mask: Any) -> None:
    if isinstance(mask, Tensor) and mask.ndim == 2 and not bool(mask[:, -1].all()):
        raise ModelError("prompts are padded on the right; set tokenizer.padding_side = 'left'")


def _cut(name: str, value: Any, part: slice) -> Any:
    if not isinstance(value, Tensor):
        return value
    if name in (*TOKENS, "attention_mask"):
        return value[:, part]
    return value[..., part] if name in BY_LAST else value
