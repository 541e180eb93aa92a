"""The decoder blocks of a plain Hugging Face model, and how their outputs are read and changed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from regap.errors import ModelError
from regap.geometry.models.decoder import find_decoder

Change = Callable[[Tensor], Tensor | None]
"""Is given the residual stream [prompt, token, d_model] after a block, and returns the new one, or None."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Where the outputs of the blocks are met; the same places as the bridge's hooks."""

    modules: torch.nn.ModuleList
    norm: torch.nn.Module | None
    """After the last block."""
    crossing: frozenset[int]
    """Blocks that words alone pass by: their outputs are met where the next module takes them up."""

    @classmethod
    def of(cls, model: Any) -> "Blocks":
        """Return the blocks of a model; raises ModelError for one without a decoder of the usual layout."""
        decoder = find_decoder(model)
        crossing = getattr(model.config.get_text_config(), "cross_attention_layers", None) or ()
        norm = model.get_submodule(decoder.norm) if decoder.norm else None
        return cls(model.get_submodule(decoder.blocks), norm, frozenset(crossing))

    @contextmanager
    def changed(self, changes: Mapping[int, Change]) -> Iterator[None]:
        """Run passes of this thread with the changes, by layer; afterwards no hook is left."""
        with ExitStack() as stack:
            for layer, change in changes.items():
                stack.callback(self._put(layer, change).remove)
            yield

    def _put(self, layer: int, change: Change) -> RemovableHandle:
        owner = get_ident()

        def changed(residual: Tensor) -> Tensor | None:
            return change(residual) if get_ident() == owner else None

        if layer not in self.crossing:
            return self.modules[layer].register_forward_hook(_after(changed))
        following = self.modules[layer + 1] if layer + 1 < len(self.modules) else self.norm
        if following is None:
            raise ModelError(
                f"the output of block {layer} is met nowhere: no norm follows it; choose another layer"
            )
        return following.register_forward_pre_hook(_before(changed), with_kwargs=True)


def _after(change: Change) -> Callable[..., Any]:
    def hook(module: Any, inputs: Any, output: Any) -> Any:  # noqa: ARG001 - PyTorch's own
        new = change(output if isinstance(output, Tensor) else output[0])
        if new is None:
            return None
        return new if isinstance(output, Tensor) else (new, *output[1:])

    return hook


def _before(change: Change) -> Callable[..., Any]:
    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001 - PyTorch's own
        new = change(args[0] if args else kwargs["hidden_states"])
        if new is None:
            return None
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

    return hook
