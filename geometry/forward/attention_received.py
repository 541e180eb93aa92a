"""How much the last prompt token attends to each token, from a pass whose attention returns its weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
"""Largest difference between logits under two attention implementations, relative; 50 times that in 16 bits."""
REMEDY = "choose image:blank or image:norm"


@torch.inference_mode()
def attention_received(model: Model, batch: Batch) -> Float[Tensor, "prompt token"]:
    """Return the weight that the last token of each prompt gives to each token, mean over heads and over blocks.

    Unedited. Blocks without attention and cross-attention blocks do not count. The decoder runs under eager attention
    for this pass, and then under its own again. Raises ModelError if no block returns weights, or if the logits of
    this pass are not the model's own.
    """
    prefix = prefill(model, batch)
    own = prefix.run(model, []).logits[:, -1].float()
    with eager_attention(model), _weights_of(model, batch) as weights:
        found = prefix.run(model, []).logits[:, -1].float()
    if not weights:
        raise ModelError(
            f"position image:attention: no block of model {model.name} returns weights; {REMEDY}"
        )
    off = float((found - own).nan_to_num().abs().max() / own.nan_to_num().abs().max().clamp_min(1e-12))
    if off > ROUNDED * (1 if torch.finfo(model.hf.dtype).eps < 1e-5 else 50):
        raise ModelError(
            f"position image:attention: model {model.name} computes other logits where its attention returns weights "
            f"(off by {off:.1%}); {REMEDY}"
        )
    return torch.stack([aligned(each, batch.columns) for each in weights.values()]).mean(0)


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
def _weights_of(model: Model, batch: Batch) -> Iterator[dict[int, Tensor]]:
    """Collect, by block, the weights of the last token that a module of the block returns, mean over heads."""
    kept: dict[int, Tensor] = {}

    def keeping(layer: int) -> Callable[[Any, Any, Any], None]:
        def keep(module: Any, inputs: Any, output: Any) -> None:  # noqa: ARG001 - PyTorch passes all three
            found = output[1] if isinstance(output, tuple) and len(output) > 1 else None
            if isinstance(found, Tensor) and found.ndim == 4 and len(found) == len(batch):
                kept[layer] = found[:, :, -1].float().mean(1).cpu()

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
