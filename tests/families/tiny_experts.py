"""Tiny models whose MLP is a mixture of experts; what their blocks' MLP returns differs from family to family."""

from typing import Any

from tiny_parts import Family, decoder, hf
from tiny_qwen import qwen

EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "head_dim": 16}


def qwen3_moe() -> Family:
    """Its last block has an MLP without experts, as `mlp_only_layers` allows."""
    more: dict[str, Any] = {"num_experts": 4, "moe_intermediate_size": 32, "mlp_only_layers": [2]}
    return decoder(hf.Qwen3MoeConfig, hf.Qwen3MoeForCausalLM, "chatml", **EXPERTS, **more)


def llama4() -> Family:
    """Its experts return [prompt * token, d_model] and the router's scores; its first block has none."""
    more: dict[str, Any] = {"num_local_experts": 4, "intermediate_size_mlp": 64, "moe_layers": [1, 2]}
    return decoder(hf.Llama4TextConfig, hf.Llama4ForCausalLM, "llama", **EXPERTS, **more)


def gpt_oss() -> Family:
    """Its experts return a tuple with the router's scores; attention has a sink."""
    more: dict[str, Any] = {"num_local_experts": 4, "sliding_window": 16}
    return decoder(hf.GptOssConfig, hf.GptOssForCausalLM, "chatml", **EXPERTS, **more)


def qwen3_vl_moe() -> Family:
    vision: dict[str, Any] = {"depth": 3, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64}
    vision |= {"out_hidden_size": 32, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    return qwen(
        hf.Qwen3VLMoeConfig,
        hf.models.qwen3_vl_moe.Qwen3VLMoeTextConfig,
        hf.Qwen3VLMoeForConditionalGeneration,
        hf.Qwen3VLProcessor,
        vision,
        16,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=32,
        decoder_sparse_step=1,
        mlp_only_layers=[],
    )
