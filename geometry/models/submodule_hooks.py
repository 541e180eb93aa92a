"""Hook points at the attention, its heads, keys and values, and the MLP of a block."""

from typing import get_args

import torch

from regap.errors import ModelError
from regap.geometry.models.component_map import NAMES, Submodule
from regap.geometry.models.model import Model


def part_name(model: Model, part: Submodule, layer: int) -> str:
    """Return the TransformerLens hook name of a part of block `layer`, 0-based.

    Raises ModelError for a layer that the model does not have, and for a cross-attention block.
    """
    model.hook_name(layer)
    if layer in model.crossing:
        raise ModelError(
            f"layer {layer} of model {model.name} is a cross-attention block, which is skipped without an image; "
            "choose other layers"
        )
    return NAMES[part].format(layer)


def module_of(model: Model, name: str) -> tuple[torch.nn.Module, bool] | None:
    """Return the module of the part with this hook name, and True if the part is the module's input.

    None if the name is not that of a part, or the model does not have the block.

    Raises ModelError for a part that the block does not have.
    """
    for part in get_args(Submodule):
        before, after = NAMES[part].split("{}")
        layer = name.removeprefix(before).removesuffix(after)
        if name == NAMES[part].format(layer) and layer.isdecimal() and int(layer) < model.layers:
            return _find(model, part, int(layer))
    return None


def read_only_hook(model: Model, name: str) -> str | None:
    """Return what to edit instead, for a hook where an edit would have no or only part of its effect; else None."""
    kind = name.rpartition(".")[2]
    if kind in ("hook_resid_mid", "hook_mlp_in"):
        return "an edit there reaches the MLP and not the residual stream; edit hook_attn_out"
    if kind in ("hook_pattern", "hook_attn_scores") and name.startswith("blocks."):
        attention = getattr(model.bridge.blocks[int(name.split(".")[1])], "attn", None)
        if type(attention).__name__ == "AttentionBridge":  # the kind that leaves attention to Hugging Face
            return "this architecture computes attention without it; edit attn.hook_z"
    return None


def heads_of(model: Model) -> int:
    """Return the number of attention heads of a block."""
    return int(model.hf.config.get_text_config().num_attention_heads)


def has_part(model: Model, part: Submodule, layer: int) -> bool:
    """Return True if block `layer`, 0-based, has this part and its place is known."""
    if layer in model.crossing:
        return False
    if model.bridge is not None and NAMES[part].format(layer) in model.bridge.hook_dict:
        return True
    module = _module(model, part, layer)
    return module is not None and _fits(model, part, layer, module)


def _module(model: Model, part: Submodule, layer: int) -> torch.nn.Module | None:
    """Return the module of a part; None if its place is not known, or the block does not have it."""
    place = model.parts.get(part)
    try:
        return None if place is None else model.blocks[layer].get_submodule(place.path)
    except AttributeError:
        return None


def _fits(model: Model, part: Submodule, layer: int, module: torch.nn.Module) -> bool:
    """Return True if a projection has the shape of its part; some models compute queries, keys and values in one."""
    if part not in ("heads", "keys", "values"):
        return True
    if not isinstance(module, torch.nn.Linear):
        return False
    if part == "heads":
        return module.out_features == model.width and module.in_features % heads_of(model) == 0
    width = model.head_widths[layer]
    return module.out_features % width == 0 and module.out_features <= heads_of(model) * width


def _find(model: Model, part: Submodule, layer: int) -> tuple[torch.nn.Module, bool]:
    module = _module(model, part, layer)
    if module is None:
        there = ", ".join(name for name, _ in model.blocks[layer].named_children())
        raise ModelError(
            f"layer {layer} of model {model.name}: its {part} is not known (modules there: {there}); "
            "choose component block, state or direction, or another layer"
        )
    if not _fits(model, part, layer, module):
        told = (
            f"its attention has no output projection of {heads_of(model)} equal heads; "
            if part == "heads"
            else f"its attention has no projection for {part} alone; "
        )
        raise ModelError(f"model {model.name}: {told}choose component attention")
    return module, model.parts[part].at_input
