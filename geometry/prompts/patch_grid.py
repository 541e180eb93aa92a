"""The place of each image token in its picture, if the processor's outputs show it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch


@dataclass(frozen=True)
class PatchGrid:
    """Rows and columns of the tokens of one picture, in reading order; both 0 if they form no rectangle."""

    rows: int = 0
    columns: int = 0
    problem: str = ""
    """Why there is no grid, in words."""


def patch_grid(model: Model, batch: Batch) -> PatchGrid:
    """Return the grid of the only picture of the only prompt of a batch.

    Models such as Qwen-VL give the grid (`image_grid_thw`, in patches before they are merged). For others the grid is
    assumed to have the proportions of the pixels, which must be one whole picture.
    """
    count = int(batch.image.sum())
    if len(batch.pictures) != 1:
        return PatchGrid(problem=f"the prompt has {len(batch.pictures)} pictures")
    if "image_grid_thw" in batch.inputs:
        return named_grid(batch.inputs["image_grid_thw"].tolist(), merged(model), count)
    return shaped_grid(batch.inputs, count)


def merged(model: Model) -> int:
    """Return the number of patches per side that are merged into one token."""
    return int(getattr(getattr(model.hf.config, "vision_config", None), "spatial_merge_size", 1))


def named_grid(grids: list[list[int]], side: int, count: int) -> PatchGrid:
    """Return the grid that the processor gives; no grid if its size is not the number of tokens."""
    if len(grids) == 1 and grids[0][0] == 1:
        rows, columns = (length // side for length in grids[0][1:])
        if rows * columns == count:
            return PatchGrid(rows, columns)
    return PatchGrid(problem=f"its grid {grids} does not hold {count} tokens")


def shaped_grid(inputs: Mapping[str, Any], count: int) -> PatchGrid:
    """Return the grid of `count` tokens with the proportions of the pixels."""
    pixels = inputs.get("pixel_values")
    if pixels is None or pixels.ndim != 4 or len(pixels) != 1:
        return PatchGrid(
            problem="the processor cuts the picture into several tiles, or does not give its grid"
        )
    height, width = pixels.shape[-2:]
    rows = isqrt(count * height // width)
    if rows and count % rows == 0 and rows * width == count // rows * height:
        return PatchGrid(rows, count // rows)
    return PatchGrid(
        problem=f"{count} tokens form no rectangle with the proportions of {width} × {height} pixels"
    )
