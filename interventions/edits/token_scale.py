"""Keys and values of prompt tokens, multiplied by a number for each token."""

from collections.abc import Callable, Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from regap.geometry.forward.hooks import Hook, first_column
from regap.geometry.models.model import Model
from regap.geometry.models.submodule_hooks import part_name
from regap.geometry.prompts.batch import Batch

Scale = Float[Tensor, "prompt token"]
Written = Literal["keys", "values"]


def scaled(written: Tensor, scale: Scale) -> Tensor:
    """Return what each token writes times its scale; the input is not written to."""
    return written * scale.to(written)[(..., *[None] * (written.ndim - 2))]


def scale_hooks(
    model: Model, batch: Batch, layers: Sequence[int], parts: Sequence[Written], scale: Scale
) -> list[Hook]:
    """Return new hooks that scale these parts at these layers, with one number for each column of the batch.

    Generated tokens are not scaled; they read the scaled keys and values from the cache.
    """
    call = _at_columns(batch.columns, scale)
    return [Hook(part_name(model, part, layer), call) for layer in layers for part in parts]


def _at_columns(columns: int, scale: Scale) -> Callable[[Tensor], Tensor | None]:
    def call(written: Tensor) -> Tensor | None:
        first = first_column(written, columns)
        if first >= columns:
            return None
        own = scale[:, first : first + written.shape[1]]
        return None if bool((own == 1).all()) and not own.requires_grad else scaled(written, own)

    return call
