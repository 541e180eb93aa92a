"""Tiny models that keep a recurrent state beside keys and values, or in their place."""

from typing import Any

from tiny_parts import Family, decoder, hf
from tiny_qwen import qwen


def qwen3_5() -> Family:
    """Linear attention in two blocks of three."""
    vision: dict[str, Any] = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64}
    vision |= {"out_hidden_size": 32, "num_position_embeddings": 16}
    return qwen(
        hf.Qwen3_5Config,
        hf.Qwen3_5TextConfig,
        hf.Qwen3_5ForConditionalGeneration,
        hf.Qwen3VLProcessor,
        vision,
        16,
        layer_types=["linear_attention", "full_attention", "linear_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        partial_rotary_factor=1.0,
    )


def mamba2() -> Family:
    """No attention at all."""
    more: dict[str, Any] = {"num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 2, "chunk_size": 16}
    return decoder(hf.Mamba2Config, hf.Mamba2ForCausalLM, "chatml", **more)


def mamba() -> Family:
    return decoder(hf.MambaConfig, hf.MambaForCausalLM, "chatml", state_size=8, time_step_rank=4)


def falcon_h1() -> Family:
    """Attention and a recurrent state side by side in every block."""
    more: dict[str, Any] = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1}
    more |= {"mamba_d_state": 8, "mamba_d_conv": 4, "mamba_chunk_size": 16, "head_dim": 16}
    return decoder(hf.FalconH1Config, hf.FalconH1ForCausalLM, "chatml", **more)
