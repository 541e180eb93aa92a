"""A grid of patches is what the processor says, or has the shape of the pixels, or is none."""

import pytest
import torch

from regap.geometry.prompts.patch_grid import PatchGrid, named_grid, shaped_grid


@pytest.mark.parametrize(
    ("grids", "side", "count", "expected"),
    [
        ([[1, 4, 6]], 2, 6, (2, 3)),
        ([[1, 4, 6]], 1, 24, (4, 6)),
        ([[1, 4, 6]], 2, 7, (0, 0)),
        ([[2, 4, 6]], 2, 12, (0, 0)),
        ([[1, 4, 6], [1, 4, 6]], 2, 12, (0, 0)),
    ],
)
def test_a_grid_that_is_named_is_taken_after_merging(
    grids: list[list[int]], side: int, count: int, expected: tuple[int, int]
) -> None:
    found = named_grid(grids, side, count)
    assert (found.rows, found.columns) == expected and bool(found.problem) == (expected == (0, 0))


@pytest.mark.parametrize(
    ("shape", "count", "expected"),
    [
        ((1, 3, 336, 336), 576, PatchGrid(24, 24)),
        ((1, 3, 28, 56), 8, PatchGrid(2, 4)),
        ((1, 3, 56, 28), 8, PatchGrid(4, 2)),
    ],
)
def test_others_have_the_shape_of_the_pixels(shape: tuple[int, ...], count: int, expected: PatchGrid) -> None:
    assert shaped_grid({"pixel_values": torch.zeros(shape)}, count) == expected


@pytest.mark.parametrize(
    ("shape", "count", "says"),
    [((1, 3, 224, 224), 32, "no rectangle"), ((1, 9, 3, 8, 8), 576, "tiles"), ((9, 3, 8, 8), 576, "tiles")],
)
def test_what_is_no_rectangle_says_so(shape: tuple[int, ...], count: int, says: str) -> None:
    found = shaped_grid({"pixel_values": torch.zeros(shape)}, count)
    assert not found.rows and says in found.problem
    assert "not give" in shaped_grid({}, 4).problem
