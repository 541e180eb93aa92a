"""The thin bridge: TransformerLens hooks at the block boundaries, Hugging Face's own code everywhere else."""

from typing import Any

import torch
from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.architecture_adapter import ArchitectureAdapter
from transformer_lens.model_bridge.generalized_components import (
    BlockBridge,
    EmbeddingBridge,
    UnembeddingBridge,
)
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformer_lens.model_bridge.sources import build_bridge_from_module

from regap.errors import ModelError
from regap.geometry.models.decoder import Decoder, find_decoder

__all__ = ["Decoder", "ModelError", "bridge", "find_decoder"]


def bridge(model: torch.nn.Module) -> TransformerBridge:
    """Return the model under TransformerLens hooks, its attention implementation as it was chosen.

    Hooks stand at `blocks.{l}.hook_in` and `blocks.{l}.hook_out` of the decoder. The model is wrapped in place.
    Raises ModelError if no decoder is found, or if the model is under hooks already.
    """
    decoder = find_decoder(model)
    name = f"regap:{decoder.blocks}"
    ArchitectureAdapterFactory.register_adapter(name, _adapter_for(decoder))
    config: Any = model.config
    parts = {"": config, **{part: getattr(config, part, None) for part in config.sub_configs}}
    attention = {part: each._attn_implementation for part, each in parts.items() if each is not None}
    wrapped = build_bridge_from_module(model, name, hf_config=config)
    model.set_attn_implementation(attention)  # type: ignore[operator]
    return wrapped


class _Block(BlockBridge):
    """A block with hooks at its boundaries alone: attention and MLP stay Hugging Face's own."""

    hook_aliases = {"hook_resid_pre": "hook_in", "hook_resid_post": "hook_out"}  # noqa: RUF012 - theirs is one too


def _adapter_for(decoder: Decoder) -> type[ArchitectureAdapter]:
    class BlockBoundaries(ArchitectureAdapter):
        def __init__(self, cfg):
            super().__init__(cfg)
            cfg.is_multimodal = True
            cfg.attn_implementation = None
            self.weight_processing_conversions = {}
            self.supports_compatibility_mode = False
            parts: dict[str, Any] = {"embed": EmbeddingBridge(name=decoder.embedding)}
            parts["blocks"] = _Block(name=decoder.blocks, submodules={})
            if decoder.norm:
                parts["ln_final"] = GeneralizedComponent(name=decoder.norm)
            if decoder.head:
                parts["unembed"] = UnembeddingBridge(name=decoder.head, config=cfg)
            self.component_mapping = parts

    return BlockBoundaries
