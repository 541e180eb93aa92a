"""Last-token residuals at all layers as TransformerLens' own adapters and nnsight read them."""

import copy
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from shapes import with_same_weights
from torch import Tensor
from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge.sources import build_bridge_from_module

from regap.geometry.prompts.batch import Batch

OWN = {"llava": "LlavaForConditionalGeneration", "qwen3_vl": "Qwen3VLForConditionalGeneration"}


def own_adapter(bare: Any, family: str) -> Any:
    """Return the model under TransformerLens' own adapter of its family."""
    adapter: Any = ArchitectureAdapterFactory
    known = getattr(adapter, "_adapters", {}) or {}
    own = known.get(OWN[family])
    if own is not None:
        own.required_libraries = []  # torchvision is asked for, and not used where a model is only wrapped
    model = copy.deepcopy(bare)
    return build_bridge_from_module(model, OWN[family], hf_config=model.config)


def run_with_cache(bridge: Any, batch: Batch) -> Callable[[], Tensor]:
    """Return `run_with_cache` as frugal as it can be asked: residual streams of the last token alone, one logit."""
    names = [f"blocks.{layer}.hook_out" for layer in range(bridge.cfg.n_layers)]
    rest = {name: value for name, value in batch.inputs.items() if name != "input_ids"}

    @torch.inference_mode()
    def capture() -> Tensor:
        _, cache = bridge.run_with_cache(
            batch.inputs["input_ids"],
            names_filter=names,
            pos_slice=-1,
            output_attentions=False,
            logits_to_keep=1,
            use_cache=False,
            return_type=None,
            **rest,
        )
        return torch.stack([cache[name].flatten(1) for name in names], 1)

    return capture


def run_with_cache_of_everything(bridge: Any, batch: Batch) -> Callable[[], Any]:
    """Return `run_with_cache` as it is called without options."""
    rest = {name: value for name, value in batch.inputs.items() if name != "input_ids"}

    @torch.inference_mode()
    def capture() -> Any:
        return bridge.run_with_cache(batch.inputs["input_ids"], use_cache=False, return_type=None, **rest)[1]

    return capture


def nnsight_trace(bare: Any, batch: Batch) -> Callable[[], Tensor]:
    """Return a trace that saves the last token of each layer's output, head left out; needs nnsight."""
    model: Any = import_module("nnsight").NNsight(with_same_weights(bare).model)

    def capture() -> Tensor:
        with torch.inference_mode(), model.trace(**batch.inputs, use_cache=False):
            states: Any = list()  # noqa: C408
            states = states.save()  # only what is saved leaves a trace
            for layer in model.language_model.layers:
                states.append(layer.output[:, -1])
        return torch.stack(list(states), 1)

    return capture
