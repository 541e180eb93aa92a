"""Where each token of a batch stands, as the model itself counts."""

from inspect import signature

from torch import Tensor

from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch


def token_positions(model: Model, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Return position ids as `generate` makes them, and the offsets of what comes after: padding is not counted.

    Models of the Qwen-VL kind count an image in height and width; they say themselves how.
    """
    mask = batch.inputs["attention_mask"]
    flat = (mask.long().cumsum(-1) - 1).clamp_min(0)
    decoder = model.hf.model
    if not hasattr(decoder, "get_rope_index"):
        return flat, None
    if "image_grid_thw" not in batch.inputs:
        return flat, flat.new_zeros(len(flat), 1)
    asked = signature(decoder.get_rope_index).parameters
    return decoder.get_rope_index(**{name: value for name, value in batch.inputs.items() if name in asked})
