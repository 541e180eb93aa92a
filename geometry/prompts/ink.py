"""The image tokens whose pixels vary, as far as it is known which pixels a token stands for."""

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.patch_grid import merged

INK = 0.1
"""A patch has ink if its pixels range over more than this share of the range of the whole picture."""
CHANNELS = 3
FLAT = 1e-3
"""A picture whose pixels range over less, in the processor's units, has no ink."""


def inked(model: Model, batch: Batch) -> Bool[Tensor, "prompt token"]:
    """Return True at image tokens whose pixels vary: text, edges, texture; our operationalisation.

    Pixels are those that the processor gives to the model. Raises ModelError, with the reason, where it is not known
    which pixels a token stands for, as with tiles.
    """
    count = int(batch.image.sum())
    found: list[Tensor] | str = []
    if count:
        found = inked_tokens(batch.inputs, merged(model), len(batch.pictures), count)
    if isinstance(found, str):
        raise ModelError(
            f"position image:ink is not known for model {model.name}: {found}; choose image:blank, image:norm or "
            "image:attention"
        )
    marked = torch.zeros_like(batch.image)
    if found:
        marked[batch.image] = torch.cat(found).to(marked.device)
    return marked


def inked_tokens(
    inputs: Mapping[str, Any], side: int, pictures: int, count: int
) -> list[Bool[Tensor, " _token"]] | str:
    """Return, picture after picture, which of its tokens have ink; or why that is not known.

    `side` is the number of patches per side that are merged into one token, `count` the number of image tokens.
    """
    pixels = inputs.get("pixel_values")
    if pixels is not None and "image_grid_thw" in inputs:
        cells = _merged_patches(pixels, inputs["image_grid_thw"].tolist(), side)
    elif pixels is not None and pixels.ndim == 4 and len(pixels) == pictures:
        cells = _squares(pixels, sizes_of(inputs), count)
    else:
        return (
            "its processor cuts pictures into several tiles, or does not say which pixels a token stands for"
        )
    if isinstance(cells, str):
        return cells
    if sum(map(len, cells)) != count:
        return f"the {count} image tokens are not the {sum(map(len, cells))} patches of its processor"
    return [has_ink(each) for each in cells]


def has_ink(cells: Float[Tensor, "token channel pixel"]) -> Bool[Tensor, " token"]:
    """Return which patches of one picture range over more than the share INK of what the whole picture does."""
    cells = cells.float()
    whole = float((cells.amax((0, 2)) - cells.amin((0, 2))).max())
    ranges = (cells.amax(2) - cells.amin(2)).amax(1)
    return (ranges > INK * whole) & (whole > FLAT)


def sizes_of(inputs: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return height and width of each picture in pixels, padding left out."""
    pixels = inputs["pixel_values"]
    given = inputs.get("image_sizes")
    whole = [tuple(pixels.shape[-2:])] * len(pixels)
    return whole if given is None else [(int(height), int(width)) for height, width in given.tolist()]


def _squares(pixels: Tensor, sizes: Sequence[tuple[int, int]], count: int) -> list[Tensor] | str:
    """Return the patches of whole pictures, which must be equal squares in reading order."""
    area = sum(height * width for height, width in sizes)
    side = isqrt(area // count)
    if not side or side * side * count != area or any(length % side for size in sizes for length in size):
        return f"{count} tokens are no equal squares of pictures of {', '.join(f'{w} x {h}' for h, w in sizes)} pixels"
    return [
        picture[:, :height, :width]
        .unfold(1, side, side)
        .unfold(2, side, side)
        .flatten(3)
        .flatten(1, 2)
        .transpose(0, 1)
        for picture, (height, width) in zip(pixels, sizes, strict=True)
    ]


def _merged_patches(pixels: Tensor, grids: Sequence[Sequence[int]], side: int) -> list[Tensor] | str:
    """Return the patches of each token, which follow one another in the processor's output, as in Qwen-VL."""
    lengths = [times * rows * columns for times, rows, columns in grids]
    if pixels.ndim != 2 or sum(lengths) != len(pixels) or pixels.shape[1] % CHANNELS:
        return "its pixels are not one row for each patch"
    if any(grid[0] != 1 for grid in grids):
        return "an image has several frames"
    by_channel = pixels.reshape(len(pixels), CHANNELS, -1)
    return [
        each.reshape(len(each) // side**2, side**2, CHANNELS, -1).transpose(1, 2).flatten(2)
        for each in by_channel.split(lengths)
    ]
