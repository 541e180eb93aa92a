"""How much the last prompt token attends to each token, from a pass whose attention returns its weights."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.prefix import prefill
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch

WEIGHTS_RETURNED = "eager"
"""The attention implementation whose modules return their weights."""
ROUNDED = 1e-3
"""Largest difference between what attention writes under two implementations, relative; 50 times that in 16 bits."""
REMEDY = "choose image:blank or image:norm"


@dataclass(frozen=True, eq=False)
class _Attending:
    """What the attention of one block did at the last token of each prompt."""

    module: torch.nn.Module
    written: Float[Tensor, "prompt width"]
    weights: Float[Tensor, "prompt seen"]
    """Mean over heads, on the CPU."""


@torch.inference_mode()
def attention_received(model: Model, batch: Batch) -> Float[Tensor, "prompt token"]:
    """Return the weight that the last token of each prompt gives to each token, mean over heads and over blocks.

    Unedited. Blocks without attention and cross-attention blocks do not count. The decoder runs under eager attention
    for one pass, and then under its own again. Raises ModelError if no block returns weights, or if attention writes
    something else in that pass than under its own implementation.
    """
    prefix = prefill(model, batch)
    with eager_attention(model), _attending(model, batch) as found:
        prefix.run(model, [])
    if not found:
        raise ModelError(
            f"position image:attention: no block of model {model.name} returns weights; {REMEDY}"
        )
    with _writing({layer: each.module for layer, each in found.items()}) as own:
        prefix.run(model, [])
    exact = torch.finfo(model.hf.dtype).eps < 1e-5
    # In 16 bits later blocks differ by more than rounding, where a token's experts change.
    for layer in found if exact else [min(found)]:
        off = float((found[layer].written - own[layer]).abs().max() / own[layer].abs().max().clamp_min(1e-12))
        if off > ROUNDED * (1 if exact else 50):
            raise ModelError(
                f"position image:attention: the attention of block {layer} of model {model.name} writes something else "
                f"where it returns its weights (off by {off:.1%}); {REMEDY}"
            )
    return torch.stack([aligned(each.weights, batch.columns) for each in found.values()]).mean(0)


def aligned(weights: Float[Tensor, "prompt seen"], columns: int) -> Float[Tensor, "prompt token"]:
    """Return weights by column of the prompt; a sliding window has only the last ones, and others get 0."""
    kept = weights[:, -columns:]
    return torch.nn.functional.pad(kept, (columns - kept.shape[1], 0))


@contextmanager
def eager_attention(model: Model) -> Iterator[None]:
    """Let the decoder's attention return its weights; afterwards each configuration is what it was."""
    parts: list[Any] = [getattr(module, "config", None) for module in model.decoder.modules()]
    configs = {id(each): each for each in parts if hasattr(each, "_attn_implementation")}
    before = [(each, each._attn_implementation) for each in configs.values()]
    try:
        for config, _ in before:
            config._attn_implementation = WEIGHTS_RETURNED
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation = implementation


@contextmanager
def _attending(model: Model, batch: Batch) -> Iterator[dict[int, _Attending]]:
    """Collect, by block, what the module that returns attention weights did."""
    kept: dict[int, _Attending] = {}

    def keeping(layer: int) -> Callable[[Any, Any, Any], None]:
        def keep(module: Any, inputs: Any, output: Any) -> None:  # noqa: ARG001 - PyTorch passes all three
            if not isinstance(output, tuple) or len(output) < 2:
                return
            written, weights, *_ = output
            if isinstance(weights, Tensor) and weights.ndim == 4 and len(weights) == len(batch):
                seen = weights[:, :, -1].float().mean(1).cpu()
                kept[layer] = _Attending(module, written[:, -1].float(), seen)

        return keep

    own = [(layer, block) for layer, block in enumerate(model.blocks) if layer not in model.crossing]
    handles = [
        module.register_forward_hook(keeping(layer)) for layer, block in own for module in block.modules()
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _writing(modules: Mapping[int, torch.nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Collect what these modules write at the last token of each prompt."""
    kept: dict[int, Tensor] = {}

    def keeping(layer: int) -> Callable[[Any, Any, Any], None]:
        return lambda module, inputs, output: kept.update({layer: output[0][:, -1].float()})  # noqa: ARG005

    handles = [module.register_forward_hook(keeping(layer)) for layer, module in modules.items()]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
