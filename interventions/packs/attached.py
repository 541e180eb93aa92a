"""A correction on a plain Hugging Face model: its `forward` and `generate`, and what is told apart in them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any

from torch import Tensor

from regap.errors import ModelError
from regap.interventions.packs.correction import Correction
from regap.interventions.packs.plain_blocks import Blocks
from regap.interventions.packs.prompt_end import RULES, Call, PromptEnd, changes_of
from regap.interventions.packs.single_pass import run_single_pass

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
"""Settings of `generate` under which a call of the model is no longer a prompt or what follows it, and no others."""
REPLACED = ("forward", "generate", "generate_batch")
IN_PARTS = "the gate reads whole prompts, and this one comes in parts; leave out prefill_chunk_size and past_key_values"


@dataclass(eq=False)
class Prompt:
    """What is known of the prompts that a `generate`, or a call of the model, is about."""

    columns: int
    """Where the prompts end; they are padded on the left."""
    strengths: Tensor | None = None
    """Of each prompt, once they have been decided."""


@dataclass(eq=False)
class Attached:
    """A model whose calls and generations are corrected."""

    model: Any = field(repr=False)
    correction: Correction
    blocks: Blocks = field(repr=False)
    before: dict[str, Any] = field(default_factory=dict, repr=False)
    """What of `forward` and `generate` had been replaced on the model already."""
    prompt: ContextVar[Prompt | None] = field(
        default_factory=lambda: ContextVar("prompt", default=None), repr=False
    )
    """Of the generation that is running in this thread."""

    def put_on(self) -> None:
        """Replace the model's `forward` and `generate` by corrected ones."""
        own = vars(self.model)
        self.before = {name: own[name] for name in REPLACED if name in own}
        for name, corrected in (("forward", self._forward), ("generate", self._generate)):
            setattr(self.model, name, _standing_for(getattr(self.model, name), corrected))
        if hasattr(self.model, "generate_batch"):
            self.model.generate_batch = _no_batches

    def take_off(self) -> None:
        """Leave the model as it was."""
        for name in REPLACED:
            vars(self.model).pop(name, None)
        vars(self.model).update(self.before)

    def __deepcopy__(self, memo: object) -> Any:
        raise ModelError(
            "the model is protected, and a copy would run the original; unprotect(model) before copying it"
        )

    def __reduce__(self) -> Any:
        raise ModelError("the model is protected, and cannot be pickled so; unprotect(model) first")

    def _generate(self, generate: Callable[..., Any], known: Signature, args: Any, kwargs: Any) -> Any:
        given = _named(known, args, kwargs)
        _refuse(given, self.model)
        with self._about(Prompt(_columns(given))):
            _check_padding(given.get("attention_mask"))
            return generate(*args, **kwargs)

    @contextmanager
    def _about(self, prompt: Prompt) -> Iterator[None]:
        token = self.prompt.set(prompt)
        try:
            yield
        finally:
            self.prompt.reset(token)

    def _forward(self, forward: Callable[..., Any], known: Signature, args: Any, kwargs: Any) -> Any:
        inputs = _named(known, args, kwargs)
        first = _length(inputs.get("past_key_values"))
        prompt = self.prompt.get()
        if prompt is None:
            if first:
                return forward(*args, **kwargs)  # outside `generate`, a call with a past is no prompt
            _check_padding(inputs.get("attention_mask"))
            prompt = Prompt(Call(forward, inputs, 0, 0).columns)
        call = Call(forward, inputs, first, prompt.columns)
        if self.correction.single:
            return self._in_one_pass(call, prompt)
        if not bool(call.marked(self.correction.site).any()):
            return forward(*args, **kwargs)
        if prompt.strengths is None:
            return self._decide(call, prompt)
        with self.blocks.changed(changes_of(self.correction.removed, call, prompt.strengths)):
            return forward(*args, **kwargs)

    def _in_one_pass(self, call: Call, prompt: Prompt) -> Any:
        """Return what the model says; the call in which the prompts end decides on the strengths on its way."""
        ending = prompt.strengths is None and bool(call.marked(self.correction.site).any())
        if ending and not (call.ends_prompt and (self.correction.site.only_last or not call.first)):
            raise ModelError(IN_PARTS)
        strengths = call.same_for_all(0.0) if prompt.strengths is None else prompt.strengths
        answer = run_single_pass(self.correction, call, self.blocks, strengths, decided=not ending)
        prompt.strengths = strengths if ending else prompt.strengths
        return answer

    def _decide(self, call: Call, prompt: Prompt) -> Any:
        """Decide on the strengths where the prompt ends, and return what the model says under them."""
        gated = self.correction.settings.gate is not None
        one_token = gated and self._can_go_on(call)
        if gated and not one_token and (call.first or not call.ends_prompt):
            raise ModelError(IN_PARTS)
        end = PromptEnd(call, self.blocks, self.correction, one_token)
        prompt.strengths = RULES[self.correction.settings.kind](self.correction, end)
        return end.finish(prompt.strengths)

    def _can_go_on(self, call: Call) -> bool:
        """True if the prompt can be run up to its last token, and gone on from as often as needed."""
        text, inputs = self.model.config.get_text_config(), call.inputs
        mask = inputs.get("attention_mask")
        return (
            self.correction.only_last
            and call.ends_prompt
            and inputs.get("use_cache") is True
            and inputs.get("position_ids") is not None
            and (mask is None or (isinstance(mask, Tensor) and mask.ndim == 2))
            and call.cache is not None
            and bool(getattr(call.cache, "is_croppable", not call.cache.is_compileable))
            and not (inputs.get("output_hidden_states") or inputs.get("output_attentions"))
            and not getattr(text, "use_bidirectional_attention", None)
            and not self.blocks.crossing
        )


def _standing_for(original: Callable[..., Any], corrected: Callable[..., Any]) -> Callable[..., Any]:
    known = signature(original)

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return corrected(original, known, args, kwargs)

    return call


def _named(known: Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    """Every argument by its name, those that a function takes as **kwargs among them."""
    named: dict[str, Any] = {}
    for name, value in known.bind_partial(*args, **kwargs).arguments.items():
        named |= value if known.parameters[name].kind is Parameter.VAR_KEYWORD else {name: value}
    return named


def _columns(given: dict[str, Any]) -> int:
    """How many columns the prompts of a `generate` have, those that its cache holds among them."""
    mask, tokens = given.get("attention_mask"), given.get("inputs_embeds")
    if isinstance(mask, Tensor):
        return mask.shape[1]
    tokens = given.get("inputs", given.get("input_ids")) if tokens is None else tokens
    return 1 if tokens is None else tokens.shape[1]


def _length(cache: Any) -> int:
    return 0 if cache is None else int(cache.get_seq_length())


def _check_padding(mask: Any) -> None:
    if isinstance(mask, Tensor) and mask.ndim == 2 and not bool(mask[:, -1].all()):
        raise ModelError("prompts are padded on the right; set tokenizer.padding_side = 'left'")


def _refuse(given: dict[str, Any], model: Any) -> None:
    configs = [given.get("generation_config"), model.generation_config]
    for name, neutral in REFUSED.items():
        settings = [given.get(name), *(getattr(config, name, None) for config in configs)]
        chosen = next((value for value in settings if value is not None), neutral)
        if chosen != neutral:
            raise ModelError(
                f"{name} cannot be used while the model is protected; leave it out, or unprotect(model)"
            )
    if given.get("cache_implementation") == "paged":
        raise ModelError(
            "cache_implementation 'paged' cannot be used while the model is protected; leave it out"
        )


def _no_batches(*args: Any, **kwargs: Any) -> Any:  # noqa: ARG001 - whatever it is called with
    raise ModelError(
        "generate_batch cannot be used while the model is protected; use generate, or unprotect(model)"
    )
