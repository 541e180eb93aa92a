"""Put a Hugging Face model under TransformerLens' hooks: at block boundaries only, or at every part of the model."""

from copy import deepcopy
from importlib.metadata import version
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

from regap.errors import ModelError
from regap.geometry.models.component_map import adapter_without_packages
from regap.geometry.models.decoder import Decoder, check_not_compiled, find_decoder
from regap.geometry.models.model import Hooks


def bridge(model: torch.nn.Module, hooks: Hooks = "blocks") -> TransformerBridge:
    """Return the model under TransformerLens' hooks; it is wrapped in place.

    With "blocks", the decoder has hooks only at `blocks.{l}.hook_in` and `blocks.{l}.hook_out`, and the attention
    implementation stays as it was chosen. With "all", TransformerLens' adapter for the architecture places every hook
    that it knows, and attention is computed by the eager implementation. Raises ModelError if no decoder is found, if
    the model already has hooks or was compiled, or, with "all", if TransformerLens does not support the architecture.
    """
    decoder = find_decoder(model)
    check_not_compiled(model)
    config: Any = model.config
    if hooks == "all":
        name = f"regap-all:{type(model).__name__}"
        ArchitectureAdapterFactory.register_adapter(name, _full_adapter(model))
        model.set_attn_implementation("eager")  # type: ignore[operator]
        return build_bridge_from_module(model, name, hf_config=config)
    name = f"regap:{decoder.blocks}"
    ArchitectureAdapterFactory.register_adapter(name, _block_adapter(decoder))
    parts = {"": config, **{part: getattr(config, part, None) for part in config.sub_configs}}
    attention = {part: each._attn_implementation for part, each in parts.items() if each is not None}
    wrapped = build_bridge_from_module(model, name, hf_config=config)
    model.set_attn_implementation(attention)  # type: ignore[operator]
    return wrapped


def bare_copy(model: torch.nn.Module) -> Any:
    """Return a copy of a model, loaded with hooks="blocks", that has no hooks and shares the model's weights."""
    shared = {id(each): each for each in (*model.parameters(), *model.buffers())}
    copy = deepcopy(model, shared)
    for module in copy.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, GeneralizedComponent):
                setattr(module, name, child.original_component)
    return copy


class _Quiet(GeneralizedComponent):
    """Calls Hugging Face's own module directly while nothing hangs on its hooks.

    TransformerLens looks up the module's signature and passes every hook point in each call, which costs 5 % of an
    answer of a small model.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._is_quiet():
            return self._modules["_original_component"](*args, **kwargs)  # type: ignore[misc]
        return super().forward(*args, **kwargs)

    def _is_quiet(self) -> bool:
        own = self.__dict__
        if own.get("_stop_at_layer_idx") is not None or own.get("_start_at_layer_idx") is not None:
            return False
        points: Any = (self._modules["hook_in"], self._modules["hook_out"])
        return not any(
            point._forward_hooks
            or point._forward_pre_hooks
            or point._backward_hooks
            or point._backward_pre_hooks
            for point in points
        )


class _Embedding(_Quiet, EmbeddingBridge):
    pass


class _Unembedding(_Quiet, UnembeddingBridge):
    pass


class _Block(_Quiet, BlockBridge):
    """A block with hooks at its boundaries only; attention and MLP remain Hugging Face's own."""

    hook_aliases = {"hook_resid_pre": "hook_in", "hook_resid_post": "hook_out"}  # noqa: RUF012 - as in TransformerLens


def _block_adapter(decoder: Decoder) -> type[ArchitectureAdapter]:
    class BlockBoundaries(ArchitectureAdapter):
        def __init__(self, cfg):
            super().__init__(cfg)
            cfg.is_multimodal = True
            cfg.attn_implementation = None
            self.weight_processing_conversions = {}
            self.supports_compatibility_mode = False
            parts: dict[str, Any] = {"embed": _Embedding(name=decoder.embedding)}
            parts["blocks"] = _Block(name=decoder.blocks, submodules={})
            if decoder.norm:
                parts["ln_final"] = _Quiet(name=decoder.norm)
            if decoder.head:
                parts["unembed"] = _Unembedding(name=decoder.head, config=cfg)
            self.component_mapping = parts

    return BlockBoundaries


def _full_adapter(model: torch.nn.Module) -> type[ArchitectureAdapter]:
    name = type(model).__name__
    known: Any = adapter_without_packages(name)
    if known is None:
        raise ModelError(
            f"model {name}: hooks='all' needs TransformerLens' adapter, and TransformerLens "
            f"{version('transformer-lens')} has none for this architecture; load it with hooks='blocks', as "
            "every command does"
        )

    class AllHooks(known):
        def __init__(self, cfg):
            super().__init__(cfg)
            tower = self.component_mapping.get("vision_encoder")
            if tower is not None and not _fits(model.get_submodule(tower.name), tower):
                self.component_mapping["vision_encoder"] = GeneralizedComponent(name=tower.name)

    return AllHooks


def _fits(module: torch.nn.Module, component: Any) -> bool:
    """Return True if the module has every part that TransformerLens' component requires."""
    named = {path for path, _ in module.named_modules()}
    return all(each.name in named for each in component.submodules.values() if not each.optional)
