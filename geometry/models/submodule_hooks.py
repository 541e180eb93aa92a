"""Hook points at the attention, its heads and the MLP of a block."""

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


def _find(model: Model, part: Submodule, layer: int) -> tuple[torch.nn.Module, bool]:
    block = model.blocks[layer]
    place = model.parts.get(part)
    try:
        if place is None:
            raise AttributeError
        module = block.get_submodule(place.path)
    except AttributeError:
        there = ", ".join(name for name, _ in block.named_children())
        raise ModelError(
            f"layer {layer} of model {model.name}: its {part} is not known (modules there: {there}); "
            "choose component block, state or direction, or another layer"
        ) from None
    if part == "heads" and (
        not isinstance(module, torch.nn.Linear)
        or module.out_features != model.width
        or module.in_features % heads_of(model)
    ):
        raise ModelError(
            f"model {model.name}: its attention has no output projection of {heads_of(model)} equal heads; "
            "choose component attention"
        )
    return module, place.at_input
