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

DECODERS = ("model.language_model", "model.text_model", "language_model.model", "model")
"""Where Hugging Face models keep the decoder whose `layers` write the residual stream, nearest first."""


class ModelError(ValueError):
    """The model given cannot be used; the message says why, and the remedy."""


def bridge(model: torch.nn.Module) -> TransformerBridge:
    """Return the model under TransformerLens hooks, its attention implementation as it was chosen.

    Hooks stand at `blocks.{l}.hook_in` and `blocks.{l}.hook_out` of the decoder. The model is wrapped in place;
    wrap a model once. Raises ModelError if no decoder is found.
    """
    prefix = decoder_prefix(model)
    name = f"regap:{prefix}"
    ArchitectureAdapterFactory.register_adapter(name, _adapter_for(prefix))
    config: Any = model.config
    attention = config._attn_implementation
    wrapped = build_bridge_from_module(model, name, hf_config=config)
    model.set_attn_implementation(attention)  # type: ignore[operator]
    return wrapped


def decoder_prefix(model: torch.nn.Module) -> str:
    """Return the dotted name of the module that owns the decoder's `layers`."""
    for prefix in DECODERS:
        try:
            decoder = model.get_submodule(prefix)
        except AttributeError:
            continue
        if isinstance(getattr(decoder, "layers", None), torch.nn.ModuleList):
            return prefix
    raise ModelError(
        f"model {type(model).__name__}: no decoder layers under {', '.join(f'{p}.layers' for p in DECODERS)}; "
        "give a vision-language model of the LLaVA layout"
    )


class _Block(BlockBridge):
    """A block with hooks at its boundaries alone: attention and MLP stay Hugging Face's own."""

    hook_aliases = {"hook_resid_pre": "hook_in", "hook_resid_post": "hook_out"}  # noqa: RUF012 - theirs is one too


def _adapter_for(prefix: str) -> type[ArchitectureAdapter]:
    class BlockBoundaries(ArchitectureAdapter):
        def __init__(self, cfg):
            super().__init__(cfg)
            cfg.is_multimodal = True
            cfg.attn_implementation = None
            self.weight_processing_conversions = {}
            self.supports_compatibility_mode = False
            self.component_mapping = {
                "embed": EmbeddingBridge(name=f"{prefix}.embed_tokens"),
                "blocks": _Block(name=f"{prefix}.layers", submodules={}),
                "ln_final": GeneralizedComponent(name=f"{prefix}.norm"),
                "unembed": UnembeddingBridge(name="lm_head", config=cfg),
            }

    return BlockBoundaries
