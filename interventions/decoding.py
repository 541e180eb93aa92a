"""How an answer is decoded: by our settings alone, or by the checkpoint's own if that is asked for."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from regap.errors import ConfigError, ModelError
from regap.geometry.forward.finite import not_finite
from regap.geometry.states.store import digest_of

OTHER_TOKENS = {
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
"""Settings of `generate` that run other tokens than prompt and answer, with their neutral values."""
SEVERAL = {"num_beams": 1, "num_return_sequences": 1}
"""Settings under which several answers to a prompt are written at once."""
LABELS = ("transformers_version", "_from_model_config", "max_length", "max_new_tokens")
"""Entries of a generation configuration that are no settings of a checkpoint's answers."""
SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
_SETTING: "WeakKeyDictionary[torch.nn.Module, Any]" = WeakKeyDictionary()


@dataclass(frozen=True)
class Sampling:
    """Settings to sample answers instead of greedy decoding; equal seed, prompts and limits give equal answers."""

    temperature: float = 1.0
    """Above 0; lower values favour likelier tokens."""
    top_p: float = 1.0
    """Tokens are drawn from the likeliest ones with this total probability; 1 draws from all."""
    seed: int = 0
    draws: int = 1
    """Number of answers for each prompt."""
    checkpoint: bool = False
    """True for the settings of the checkpoint's generation_config.json, penalties and sampling, in place of these."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(
                f"temperature is {self.temperature}; give a number above 0, or leave sampling out"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; give a share above 0 and at most 1")
        if self.draws < 1:
            raise ValueError(f"draws is {self.draws}; give at least 1")
        if self.checkpoint and (self.temperature, self.top_p) != (1.0, 1.0):
            raise ValueError(
                f"checkpoint is True, with temperature {self.temperature} and top_p {self.top_p}; give one or the other"
            )


@dataclass(frozen=True)
class Decoding:
    """Everything but model, prompts and edits that decides an answer."""

    budget: int
    sampling: Sampling | None = None
    draw: int = 0

    def key(self, hf: Any, tokenizer: Any) -> list[Any]:
        """Return all that decides an answer of this model to a prompt, in JSON types."""
        settings = self.settings(hf, tokenizer).to_diff_dict()
        kept = {name: value for name, value in sorted(settings.items()) if name not in LABELS}
        return [self.budget, kept, None if self.sampling is None else self.seed]

    @property
    def seed(self) -> int:
        """The seed of this draw; each draw has its own."""
        return 0 if self.sampling is None else int(digest_of([self.sampling.seed, self.draw])[:8], 16)

    def settings(self, hf: Any, tokenizer: Any) -> GenerationConfig:
        """Return the settings of Hugging Face's generate; of the checkpoint's own, only the special tokens are kept.

        Raises ConfigError if the checkpoint's own are asked for and cannot be used under hooks.
        """
        ends, pad = end_tokens(hf, tokenizer), getattr(tokenizer, "pad_token_id", None)
        special = {
            "eos_token_id": ends or None,
            "pad_token_id": next(iter([*ends, 0])) if pad is None else pad,
        }
        if self.sampling is not None and self.sampling.checkpoint:
            found = deepcopy(hf.generation_config)
            for name, neutral in (OTHER_TOKENS | SEVERAL).items():
                if getattr(found, name, None) not in (None, neutral):
                    raise ConfigError(
                        f"the checkpoint's generation settings have {name}={getattr(found, name)!r}, which cannot be "
                        "used under hooks; leave out checkpoint=True (--decoding checkpoint)"
                    )
            found.update(**special, max_new_tokens=self.budget, max_length=None, use_cache=True)
            return found
        if self.sampling is None:
            chosen: dict[str, Any] = {"do_sample": False}
        else:
            chosen = {"do_sample": True, "temperature": self.sampling.temperature}
            chosen |= {"top_p": self.sampling.top_p, "top_k": 0}
        return GenerationConfig(**special, **chosen, max_new_tokens=self.budget, use_cache=True)

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """Use the seed of this draw; afterwards torch's random state is restored."""
        if self.sampling is None:
            yield
            return
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            yield


def decode(
    hf: Any, tokenizer: Any, inputs: Mapping[str, Any], decoding: Decoding, told: str = "", **more: Any
) -> Any:
    """Return what Hugging Face's generate returns for these inputs under these settings, and no others.

    `told` says in messages what the model runs under. Raises ModelError if logits are not finite.
    """
    settings, check = decoding.settings(hf, tokenizer), _Finite()
    with _only(hf, settings), decoding.seeded():
        output = hf.generate(
            **inputs, generation_config=settings, logits_processor=LogitsProcessorList([check]), **more
        )
    if check.broken:
        raise ModelError(not_finite(type(hf).__name__, told))
    return output


def end_tokens(hf: Any, tokenizer: Any) -> list[int]:
    """Return the ids of all tokens that end an answer: those of the generation settings, else of the configuration,
    else the tokenizer's."""
    configs = (getattr(hf, "generation_config", None), hf.config, hf.config.get_text_config(), tokenizer)
    for config in configs:
        found = getattr(config, "eos_token_id", None)
        if isinstance(found, Tensor):
            found = found.tolist()
        if found is not None:
            return [int(each) for each in found] if isinstance(found, Sequence) else [int(found)]
    return []


THINKING = re.compile(r"</?\w*think\w*>|\[/?THINK\]|<\|?channel\|?>|<\|\w+_of_thought\|>|◁/?think▷")
"""Special tokens that mark thinking."""
IN_CHANNELS = ("<|start|>", "<|message|>", "<|end|>")
"""Special tokens that belong to the mark <|channel|>; without it, they only end an answer."""


def answer_text(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Return the text of an answer without special tokens; those that mark thinking stay, so that it can be told."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    special = {token: str(each) for token, each in added.items() if each.special}
    special |= {token: str(tokenizer.convert_ids_to_tokens(token)) for token in tokenizer.all_special_ids}
    marks = {token for token, name in special.items() if THINKING.fullmatch(name)}
    if any(special.get(token) == "<|channel|>" for token in tokens):
        marks |= {token for token, name in special.items() if name in IN_CHANNELS}
    kept = [token for token in tokens if token not in special or token in marks]
    return tokenizer.decode(kept, skip_special_tokens=False).strip()


def settings_left_out(hf: Any) -> dict[str, Any]:
    """Return the generation settings of a checkpoint that answers do not use unless they are asked for."""
    own = getattr(hf, "generation_config", None)
    if own is None:
        return {}
    neutral = GenerationConfig._get_default_generation_params() | OTHER_TOKENS | {"use_cache": True}
    return {
        name: value
        for name, value in own.to_diff_dict().items()
        if name not in (*LABELS, *SPECIAL) and value not in (None, neutral.get(name, False))
    }


class _Finite(LogitsProcessor):
    """Notes whether a row of logits has NaN or no finite largest value; read once, after the last token."""

    def __init__(self) -> None:
        self.seen: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - the signature is transformers'
        finite = scores.amax(-1).isfinite().all()
        self.seen = finite if self.seen is None else self.seen & finite
        return scores

    @property
    def broken(self) -> bool:
        return self.seen is not None and not bool(self.seen)


@contextmanager
def _only(hf: Any, settings: GenerationConfig) -> Iterator[None]:
    """Hide the model's own generation settings, which `generate` would take where ours say nothing."""
    with _SETTING.setdefault(hf, RLock()):
        own = hf.generation_config
        hf.generation_config = settings
        try:
            yield
        finally:
            hf.generation_config = own
