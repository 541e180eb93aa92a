"""Coordinates read while a pass runs, for an edit further up in the same pass."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.forward import Hook
from regap.geometry.models import Model

Decide = Callable[[Float[Tensor, "prompt layer"]], None]
"""Is given z at the read layers, in their order, as soon as the last of them has been run."""


def read_in_flight(
    model: Model, directions: Mapping[int, Float[Tensor, " d_model"]], decide: Decide
) -> list[Hook]:
    """Return fresh hooks that read z at the last prompt token of the first pass; generated tokens are not read."""
    seen: dict[int, Tensor] = {}

    def reader(layer: int) -> Callable[[Tensor], None]:
        def read(residual: Tensor) -> None:
            if len(seen) == len(directions):
                return
            seen[layer] = residual[:, -1].double().cpu() @ directions[layer].double().cpu()
            if len(seen) == len(directions):
                decide(torch.stack([seen[each] for each in directions], 1))

        return read

    return [Hook(model.hook_name(layer), reader(layer)) for layer in directions]
