"""Where attention, its heads and the MLP of a block write: hook points that stand only while they are used."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.models.loading import Model

Submodule = Literal["attention", "mlp", "heads"]
NAMES: dict[Submodule, str] = {
    "attention": "blocks.{}.hook_attn_out",
    "mlp": "blocks.{}.hook_mlp_out",
    "heads": "blocks.{}.attn.hook_z",
}
"""TransformerLens's own names. attention and mlp: what is added to the stream; heads: before the output projection."""
KINDS: dict[Submodule, tuple[str, ...]] = {
    "attention": ("attention", "attn"),
    "mlp": ("mlp", "moe", "feedforward", "experts"),
}
"""What the classes of such modules are called."""
NORMS_AFTER: dict[Submodule, tuple[str, ...]] = {
    "attention": ("post_self_attn_layernorm", "post_attention_layernorm"),
    "mlp": ("post_mlp_layernorm", "post_feedforward_layernorm"),
}
"""Norms of sandwich blocks: what is added to the stream is what they return."""


@dataclass(frozen=True, eq=False)
class SubmodulePoint:
    """A module whose output, or whose input, is read and written."""

    module: torch.nn.Module = field(repr=False)
    at_input: bool

    def attach(self, function: Callable[[Tensor], Tensor | None]) -> Any:
        """Put the function on the point; the handle that is returned takes it off again."""

        def on_input(module: Any, inputs: tuple) -> tuple | None:  # noqa: ARG001 - PyTorch's signature
            found = function(inputs[0])
            return None if found is None else (found, *inputs[1:])

        def on_output(module: Any, inputs: Any, output: Any) -> Any:  # noqa: ARG001 - PyTorch's signature
            found = function(output[0] if isinstance(output, tuple) else output)
            return found if found is None or not isinstance(output, tuple) else (found, *output[1:])

        if self.at_input:
            return self.module.register_forward_pre_hook(on_input)
        return self.module.register_forward_hook(on_output)


def part_name(model: Model, part: Submodule, layer: int) -> str:
    """Return the TransformerLens name of what a part of block `layer`, 0-based, writes.

    Raises ModelError for a layer that is not there, and for a block that attends to the image beside the stream.
    """
    model.hook_name(layer)
    if layer in model.crossing:
        raise ModelError(
            f"block {layer} of model {model.name} attends to the image beside the stream, and words pass it by; "
            "choose other layers"
        )
    return NAMES[part].format(layer)


def point_of(model: Model, name: str) -> SubmodulePoint | None:
    """Return the point of this name; None if it is no part's name or names no block of the model."""
    for part in get_args(Submodule):
        before, after = NAMES[part].split("{}")
        layer = name.removeprefix(before).removesuffix(after)
        if name == NAMES[part].format(layer) and layer.isdecimal() and int(layer) < model.layers:
            return _find(model, part, int(layer))
    return None


def heads_of(model: Model) -> int:
    """Return how many heads the attention of a block has."""
    return int(model.hf.config.get_text_config().num_attention_heads)


@contextmanager
def attached(
    points: Sequence[SubmodulePoint], functions: Sequence[Callable[[Tensor], Tensor | None]]
) -> Iterator[None]:
    """Keep the functions on their points, in order; afterwards, and after an exception, they are gone."""
    handles = []
    try:
        for point, function in zip(points, functions, strict=True):
            handles.append(point.attach(function))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _find(model: Model, part: Submodule, layer: int) -> SubmodulePoint:
    block = model.bridge.blocks[layer].original_component
    children = dict(block.named_children())
    if part == "heads":
        return SubmodulePoint(
            _output_projection(model, _only(model, "attention", layer, children)), at_input=True
        )
    norms = [children[name] for name in NORMS_AFTER[part] if name in children and _sandwiched(name, children)]
    return SubmodulePoint(norms[0] if norms else _only(model, part, layer, children), at_input=False)


def _sandwiched(name: str, children: dict[str, torch.nn.Module]) -> bool:
    """Where no other norm stands before the MLP, most families give its norm the name of one after attention."""
    return name != "post_attention_layernorm" or "pre_feedforward_layernorm" in children


def _only(model: Model, part: Submodule, layer: int, children: dict[str, torch.nn.Module]) -> torch.nn.Module:
    found = [
        child
        for child in children.values()
        if any(kind in type(child).__name__.lower() for kind in KINDS[part])
    ]
    if len(found) != 1:
        raise ModelError(
            f"block {layer} of model {model.name} has {len(found) or 'no'} modules that look like its {part} (there: "
            f"{', '.join(children)}); ablate whole blocks or directions"
        )
    return found[0]


def _output_projection(model: Model, attention: torch.nn.Module) -> torch.nn.Module:
    linear = [child for child in attention.children() if isinstance(child, torch.nn.Linear)]
    if not linear or linear[-1].out_features != model.width or linear[-1].in_features % heads_of(model):
        raise ModelError(
            f"model {model.name}: its attention has no output projection of {heads_of(model)} equal heads; "
            "ablate the whole attention"
        )
    return linear[-1]
