"""Where a block keeps its attention, its heads and its MLP, from TransformerLens' map of the architecture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformer_lens.model_bridge.architecture_adapter import ArchitectureAdapter
from transformer_lens.model_bridge.sources import build_bridge_config_from_hf
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

Submodule = Literal["attention", "mlp", "heads", "keys", "values"]
NAMES: dict[Submodule, str] = {
    "attention": "blocks.{}.hook_attn_out",
    "mlp": "blocks.{}.hook_mlp_out",
    "heads": "blocks.{}.attn.hook_z",
    "keys": "blocks.{}.attn.hook_k",
    "values": "blocks.{}.attn.hook_v",
}
"""TransformerLens' names. attention, mlp: output added to the residual stream; heads: input to its projection; keys,
values: outputs of their projections, before any norm or rotation."""
SAME_BLOCKS = {
    "qwen2_vl_text": "Qwen2_5_VLForConditionalGeneration",
    "mllama_text_model": "LlamaForCausalLM",
    "qwen2_5_omni_text": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_omni_moe_text": "Qwen3VLMoeForConditionalGeneration",
}
"""Decoders that TransformerLens does not have, by model_type, and an architecture with the same block layout."""


@dataclass(frozen=True)
class ModulePath:
    """A module inside a block, and whether the part is read and written at its input or output."""

    path: str
    """Dotted name inside the block, as in Hugging Face."""
    at_input: bool
    """True for the module's input, False for its output."""


def adapter_without_packages(architecture: str) -> type[ArchitectureAdapter] | None:
    """Return TransformerLens' adapter of an architecture, without its required packages; None if it has none.

    Some adapters require torchvision, although only their processors need it.
    """
    known: Any = SUPPORTED_ARCHITECTURES.get(architecture)
    return known and type(known.__name__, (known,), {"required_libraries": []})


def parts_of_blocks(model: Any) -> Mapping[Submodule, ModulePath]:
    """Return where each block of a Hugging Face model keeps its parts; unknown parts are left out.

    The map is that of the text decoder's architecture, else of the whole model's, else of one in `SAME_BLOCKS`.
    """
    text = model.config.get_text_config().model_type
    decoder: Any = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(text)
    for architecture in (decoder, type(model).__name__, SAME_BLOCKS.get(text)):
        kind = adapter_without_packages(str(architecture))
        if kind is not None:
            config = build_bridge_config_from_hf(model.config, str(architecture), "", torch.float32)
            blocks: Any = (kind(config).component_mapping or {}).get("blocks")
            found: dict[Submodule, ModulePath | None] = {
                part: _resolved(blocks, name.partition("{}.")[2]) for part, name in NAMES.items()
            }
            return {part: place for part, place in found.items() if place}
    return {}


def _resolved(component: Any, hook: str, path: tuple[str, ...] = ()) -> ModulePath | None:
    """Follow TransformerLens' aliases from a hook's name to its module; None if they lead to no module."""
    if component is None:
        return None
    if hook in ("hook_in", "hook_out"):
        return ModulePath(".".join(path), hook == "hook_in")
    first, _, rest = hook.partition(".")
    if rest:
        inner = component.submodules.get(first)
        below = path if inner is None or inner.name is None else (*path, inner.name)
        return _resolved(inner, rest, below)
    alias = component.hook_aliases.get(hook)
    return _resolved(component, alias, path) if isinstance(alias, str) else None
