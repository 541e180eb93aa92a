"""A tiny model of every family, from its own configuration and processor classes."""

from collections.abc import Callable
from typing import Any

from tiny_llava import internvl, llava, llava_next, llava_onevision, mistral3, pixtral
from tiny_others import gemma3, idefics3, mllama, paligemma, smolvlm
from tiny_parts import Family, hf, text_config
from tiny_qwen import glm4v, qwen2_5_vl, qwen2_vl, qwen3_vl
from tiny_words import chat_template, tokenizer


def _decoder(kind: Any, model: Any, layout: str, **more: Any) -> Family:
    words: Any = tokenizer(layout)
    words.chat_template = chat_template(layout, "")
    return Family(model(text_config(kind, words, **more)), words)


def llama() -> Family:
    return _decoder(hf.LlamaConfig, hf.LlamaForCausalLM, "llama")


def qwen3() -> Family:
    return _decoder(hf.Qwen3Config, hf.Qwen3ForCausalLM, "chatml", head_dim=16)


def gemma2() -> Family:
    return _decoder(hf.Gemma2Config, hf.Gemma2ForCausalLM, "gemma", head_dim=16, sliding_window=16)


WITH_IMAGES = [llava, llava_next, llava_onevision, qwen2_vl, qwen2_5_vl, qwen3_vl, gemma3, internvl]
WITH_IMAGES += [idefics3, smolvlm, paligemma, mllama, mistral3, pixtral, glm4v]
WORDS_ALONE = [llama, qwen3, gemma2]
FAMILIES: dict[str, Callable[[], Family]] = {make.__name__: make for make in [*WITH_IMAGES, *WORDS_ALONE]}
