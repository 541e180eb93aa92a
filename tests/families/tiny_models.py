"""A tiny model of every family, from its own configuration and processor classes."""

from collections.abc import Callable

from tiny_experts import gpt_oss, llama4, qwen3_moe, qwen3_vl_moe
from tiny_hybrid import falcon_h1, mamba2, qwen3_5
from tiny_listening import qwen2_audio, voxtral
from tiny_llava import internvl, llava, llava_next, llava_onevision, mistral3, pixtral
from tiny_newer import aya_vision, gemma4, ovis2, qwen2_5_omni, qwen3_omni
from tiny_others import gemma3, idefics3, mllama, paligemma, smolvlm
from tiny_parts import Family, decoder, hf
from tiny_qwen import glm4v, qwen2_5_vl, qwen2_vl, qwen3_vl


def llama() -> Family:
    return decoder(hf.LlamaConfig, hf.LlamaForCausalLM, "llama")


def qwen3() -> Family:
    return decoder(hf.Qwen3Config, hf.Qwen3ForCausalLM, "chatml", head_dim=16)


def gemma2() -> Family:
    return decoder(hf.Gemma2Config, hf.Gemma2ForCausalLM, "gemma", head_dim=16, sliding_window=16)


def gpt2() -> Family:
    """Its positions are learned."""
    return decoder(hf.GPT2Config, hf.GPT2LMHeadModel, "chatml", n_positions=512)


def gpt_neox() -> Family:
    """Its decoder has another name, and attention and MLP read the same state."""
    return decoder(hf.GPTNeoXConfig, hf.GPTNeoXForCausalLM, "chatml")


def bloom() -> Family:
    """It takes no positions."""
    return decoder(hf.BloomConfig, hf.BloomForCausalLM, "chatml", n_head=2)


WITH_IMAGES = [llava, llava_next, llava_onevision, qwen2_vl, qwen2_5_vl, qwen3_vl, gemma3, internvl]
WITH_IMAGES += [idefics3, smolvlm, paligemma, mllama, mistral3, pixtral, glm4v]
WITH_IMAGES += [qwen3_vl_moe, qwen3_5, aya_vision, ovis2, gemma4, qwen2_5_omni, qwen3_omni]
WORDS_ALONE = [llama, qwen3, gemma2, qwen3_moe, llama4, gpt_oss, falcon_h1, mamba2, gpt2, gpt_neox, bloom]
WITH_SOUNDS_ALONE = [qwen2_audio, voxtral]
FAMILIES: dict[str, Callable[[], Family]] = {
    make.__name__: make for make in [*WITH_IMAGES, *WITH_SOUNDS_ALONE, *WORDS_ALONE]
}
LISTENING = ("qwen2_5_omni", "qwen3_omni", "gemma4", "qwen2_audio", "voxtral")
"""Families that take sounds."""
ODD = ("qwen3_5", "gemma4", "falcon_h1", "mamba2", "gpt2", "gpt_neox", "bloom")
"""Families whose blocks are not attention and MLP in a row, each a module with the usual projections."""
WITH_PARTS = [family for family in FAMILIES if family not in ODD]
