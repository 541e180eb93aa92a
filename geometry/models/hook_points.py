"""Hook points by TransformerLens name: modules whose input or output is read and changed."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.models.decoder import find_decoder
from regap.geometry.models.model import Model

Change = Callable[[Tensor], Tensor | None]
"""A function from the states at a point, [prompt, token, width], to new states; None changes nothing."""


@dataclass(frozen=True, eq=False)
class HookPoint:
    """A module whose output, or whose input, is read and written as [prompt, token, width]."""

    module: torch.nn.Module = field(repr=False)
    at_input: bool
    by_head: bool = False
    """True if the module writes [prompt, token, head, d_head]; functions receive the heads concatenated."""
    read_only: str = ""
    """Why an edit here is refused, with the remedy; empty if edits are allowed."""

    def attach(self, function: Change) -> Any:
        """Place the function on the point; the returned handle removes it."""

        def on_input(module: Any, args: tuple, kwargs: dict[str, Any] | None = None) -> Any:  # noqa: ARG001
            if (
                kwargs is None
            ):  # PyTorch adds and removes a hook in two steps; a pass of another thread is between them
                return None
            new = function(args[0] if args else kwargs["hidden_states"])
            if new is None:
                return None
            return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

        def on_output(module: Any, inputs: tuple, output: Any) -> Any:  # noqa: ARG001 - PyTorch's signature
            written = output[0] if isinstance(output, tuple) else output
            new = function(self._by_token(written, inputs))
            if new is None:
                return None
            if self.read_only:
                raise ModelError(self.read_only)
            new = new.reshape(written.shape)
            return (new, *output[1:]) if isinstance(output, tuple) else new

        if self.at_input:
            return self.module.register_forward_pre_hook(on_input, with_kwargs=True)
        return self.module.register_forward_hook(on_output)

    def _by_token(self, written: Tensor, inputs: tuple) -> Tensor:
        if written.ndim == 2:
            return written.view(inputs[0].shape)  # some mixtures of experts return [prompt * token, d_model]
        return written.flatten(2) if self.by_head else written


def hook_point(model: Model, name: str) -> HookPoint:
    """Return the point of this canonical TransformerLens name.

    With a bridge, TransformerLens' own HookPoint modules are used if it has them. Raises ModelError for a name that is
    not a hook of the model.
    """
    if model.bridge is not None and name in model.bridge.hook_dict:
        if re.fullmatch(r"blocks\.\d+\.hook_(in|out)|ln_final\.hook_in", name):
            return HookPoint(model.bridge.hook_dict[name], at_input=False)
        from regap.geometry.models.submodule_hooks import read_only_hook  # imports TransformerLens

        remedy = read_only_hook(model, name)
        told = f"hook {name!r} of model {model.name} can be read, not edited; {remedy}" if remedy else ""
        return HookPoint(model.bridge.hook_dict[name], False, name.endswith("hook_z"), told)
    boundary = re.fullmatch(r"blocks\.(\d+)\.hook_(in|out)", name)
    if boundary and model.bridge is None and int(boundary[1]) < model.layers:
        return HookPoint(model.blocks[int(boundary[1])], at_input=boundary[2] == "in")
    if name == "ln_final.hook_in" and model.bridge is None:
        return HookPoint(_final_norm(model), at_input=True)
    from regap.geometry.models.submodule_hooks import module_of  # imports TransformerLens

    found = module_of(model, name)
    if found is None:
        near = ", ".join(get_close_matches(name, _names(model), n=3))
        raise ModelError(f"hook {name!r} is not in model {model.name}; the nearest are {near}")
    module, at_input = found
    return HookPoint(module, at_input)


def _final_norm(model: Model) -> torch.nn.Module:
    norm = find_decoder(model.hf).norm
    if norm is None:
        raise ModelError(
            f"model {model.name}: no norm follows block {model.layers - 1}, so its output cannot be read; "
            "choose another layer"
        )
    return model.hf.get_submodule(norm)


def _names(model: Model) -> list[str]:
    if model.bridge is not None:
        return list(model.bridge.hook_dict)
    return [f"blocks.{layer}.hook_{side}" for layer in range(model.layers) for side in ("in", "out")]
