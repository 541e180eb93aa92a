"""The thin bridge: TransformerLens hooks at the block boundaries, Hugging Face's own code everywhere else."""

from dataclasses import dataclass
from inspect import signature
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


class ModelError(ValueError):
    """The model given cannot be used; the message says why, and the remedy."""


@dataclass(frozen=True)
class Decoder:
    """The dotted names of the modules that write and read the residual stream."""

    embedding: str
    """Where tokens become vectors."""
    blocks: str
    """The list of decoder blocks."""
    norm: str | None
    """The norm after the last block, None if none stands beside the blocks."""
    head: str | None
    """Where the residual stream becomes logits, None if the model has no such module."""


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


def find_decoder(model: torch.nn.Module) -> Decoder:
    """Return where the model keeps its decoder: the list of blocks beside the embedding of its input tokens."""
    name = type(model).__name__
    named = {module: path for path, module in model.named_modules()}
    embedding = _module(model, "get_input_embeddings")
    if embedding not in named:
        raise ModelError(f"model {name}: it names no input embedding; give a model that reads tokens")
    if isinstance(embedding, GeneralizedComponent):
        raise ModelError(f"model {name} is under hooks already; use what load() returned, or a fresh copy")
    owner = named[embedding].rpartition(".")[0]
    beside = dict(model.get_submodule(owner).named_children())
    lists = {child: blocks for child, blocks in beside.items() if isinstance(blocks, torch.nn.ModuleList)}
    found = [child for child, blocks in lists.items() if _carries_the_stream(blocks)]
    if len(found) != 1:
        raise ModelError(
            f"model {name}: {len(found) or 'no'} lists of blocks that take hidden_states stand beside its embedding "
            f"{named[embedding]} (there: {', '.join(beside)}); give a decoder of the usual Hugging Face layout"
        )
    norms = [child for child, module in beside.items() if "norm" in type(module).__name__.lower()]
    prefix = f"{owner}." if owner else ""
    return Decoder(
        named[embedding],
        prefix + found[0],
        prefix + norms[-1] if norms else None,
        named.get(_module(model, "get_output_embeddings")),  # type: ignore[arg-type]
    )


def _carries_the_stream(blocks: torch.nn.ModuleList) -> bool:
    return len(blocks) > 0 and all("hidden_states" in signature(block.forward).parameters for block in blocks)


def _module(model: Any, method: str) -> torch.nn.Module | None:
    try:
        return getattr(model, method)()
    except (AttributeError, NotImplementedError):
        return None


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
