"""What each attention head of each block reads at the last prompt token: from which tokens, and what."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.attention_received import eager_attention
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.forward.prefix import borrowed, prefill
from regap.geometry.models.model import Model
from regap.geometry.models.submodule_hooks import part_name
from regap.geometry.prompts.batch import Batch


@dataclass(frozen=True, eq=False)
class HeadsReading:
    """The heads of one block at the last token of each prompt: their attention, what it is over, and their output."""

    weights: Float[Tensor, "prompt head column"] = field(repr=False)
    """Attention to each column of the prompts; 0 beyond a sliding window."""
    values: Float[Tensor, "prompt group column width"] = field(repr=False)
    """The values that it weights; heads of a group share them."""
    output: Float[Tensor, "prompt head width"] = field(repr=False)
    """The heads' output before the projection."""

    def mass(self, where: Bool[Tensor, "prompt column"]) -> Float[Tensor, "prompt head"]:
        """Return how much of the attention goes to the marked tokens, 0 to 1."""
        return (self.weights * where.to(self.weights)[:, None]).sum(-1)

    def read_from(self, where: Bool[Tensor, "prompt column"]) -> Float[Tensor, "prompt head width"]:
        """Return the part of the heads' output that comes from the marked tokens."""
        weights = self.weights * where.to(self.weights)[:, None]
        return weighted(weights, self.values)


def weighted(
    weights: Float[Tensor, "prompt head column"], values: Float[Tensor, "prompt group column width"]
) -> Float[Tensor, "prompt head width"]:
    """Return the values in sum, weighted for each head; consecutive heads share a group of values."""
    prompts, heads, columns = weights.shape
    grouped = weights.reshape(prompts, values.shape[1], -1, columns)
    return torch.einsum("pgrc,pgcw->pgrw", grouped, values).reshape(prompts, heads, -1)


@torch.inference_mode()
def heads_reading(model: Model, batch: Batch, layers: Sequence[int]) -> Mapping[int, HeadsReading]:
    """Return what the heads of these blocks read at the last token, unedited; float32, on the CPU.

    One token is run, with eager attention, over the keys and values of the others. Raises ModelError for a model whose
    keys and values cannot be reused, or whose heads are no weighted sums of them.
    """
    prefix = prefill(model, batch)
    if prefix.cache is None:
        raise ModelError(
            f"model {model.name} keeps no keys and values that can be used again, so what its heads read cannot be "
            "told apart; ablate whole heads"
        )
    before = {layer: _values(model, prefix.cache, layer) for layer in layers}
    outputs: dict[int, Tensor] = {}
    hooks = [Hook(part_name(model, "heads", layer), _keep(outputs, layer)) for layer in layers]
    inputs = batch.inputs
    with eager_attention(model), borrowed(model, prefix), hooked(model, hooks):
        found = model.hf(
            input_ids=inputs["input_ids"][:, -1:],
            attention_mask=inputs["attention_mask"],
            **({} if prefix.positions is None else {"position_ids": prefix.positions}),
            past_key_values=prefix.cache,
            use_cache=True,
            output_attentions=True,
            logits_to_keep=1,
        )
        own = {layer: _values(model, prefix.cache, layer)[:, :, -1:] for layer in layers}
    return {
        layer: _reading(
            model, layer, found.attentions[layer], before[layer], own[layer], outputs[layer], batch.columns
        )
        for layer in layers
    }


def _reading(
    model: Model, layer: int, attention: Tensor, before: Tensor, own: Tensor, output: Tensor, columns: int
) -> HeadsReading:
    """Return the reading of one block, its columns those of the prompts; ModelError if it does not add up."""
    weights = attention[:, :, -1].float().cpu()
    values = torch.cat([before, own], 2).float().cpu()
    kept = min(weights.shape[2], values.shape[2])
    weights, values = weights[..., -kept:], values[:, :, -kept:]
    output = output.float().cpu().reshape(len(weights), weights.shape[1], -1)
    precise = torch.finfo(model.hf.dtype).eps < 1e-5
    off = float((weighted(weights, values) - output).norm() / output.norm())
    if not off <= (1e-3 if precise else 0.1):
        raise ModelError(
            f"the heads of block {layer} of model {model.name} put out something other than their attention times "
            f"their values (off by {off:.0%}); ablate whole heads"
        )
    missing = columns - kept
    return HeadsReading(
        torch.nn.functional.pad(weights, (missing, 0)),
        torch.nn.functional.pad(values, (0, 0, missing, 0)),
        output,
    )


def _values(model: Model, cache: Any, layer: int) -> Tensor:
    """Return the values in a block's cache; raises ModelError for a block without any."""
    layers = getattr(cache, "layers", ())
    found = getattr(layers[layer], "values", None) if layer < len(layers) else None
    if not isinstance(found, Tensor) or found.ndim != 4:
        raise ModelError(
            f"block {layer} of model {model.name} keeps no values of each token; choose other layers"
        )
    return found


def _keep(found: dict[int, Tensor], layer: int) -> Callable[[Tensor], None]:
    def keep(written: Tensor) -> None:
        found[layer] = written[:, -1].detach().clone()

    return keep
