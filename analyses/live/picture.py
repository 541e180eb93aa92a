"""The picture of a prompt as the processor frames it, small, with the grid of its patches."""

import io
from typing import Any

from PIL.Image import Image

from regap.analyses.live.question import LivePicture
from regap.geometry.data.pairs import Prompt
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.patch_grid import patch_grid

LONGEST = 320
"""Pixels of the longer side that is kept."""


def live_picture(model: Model, prompt: Prompt, batch: Batch) -> LivePicture | None:
    """The prompt's picture and where its patches lie; None for a prompt without one."""
    if prompt.picture is None:
        return None
    grid = patch_grid(model, batch)
    image = framed(prompt.picture.open(), getattr(model.processor, "image_processor", None))
    image.thumbnail((LONGEST, LONGEST))
    kept = io.BytesIO()
    image.save(kept, "PNG")
    return LivePicture(kept.getvalue(), image.width, image.height, grid.rows, grid.columns, grid.problem)


def framed(image: Image, processor: Any) -> Image:
    """The part of the picture that the model sees: some processors cut out its middle after a resize."""
    shortest = (getattr(processor, "size", None) or {}).get("shortest_edge")
    if not getattr(processor, "do_center_crop", False) or not shortest:
        return image
    scale = min(image.size) / shortest
    cut = processor.crop_size
    wide, high = (
        min(side, round(cut[name] * scale))
        for side, name in zip(image.size, ("width", "height"), strict=True)
    )
    left, top = (image.width - wide) // 2, (image.height - high) // 2
    return image.crop((left, top, left + wide, top + high))
