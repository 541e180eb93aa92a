"""A token has ink if the pixels that it stands for vary; planted ink is found, and a plain picture has none."""

from typing import Any

import pytest
import torch

from regap.geometry.prompts.ink import has_ink, inked_tokens


def planted(rows: int, columns: int, side: int, inked: list[int], noise: float = 0.0) -> torch.Tensor:
    """A picture whose patches at these places have a dark stroke."""
    generator = torch.Generator().manual_seed(0)
    pixels = 2 + noise * torch.rand(3, rows * side, columns * side, generator=generator)
    for place in inked:
        row, column = divmod(place, columns)
        pixels[:, row * side + 1, column * side + 1 : (column + 1) * side] = -2
    return pixels


def marked(found: Any) -> list[list[int]]:
    assert not isinstance(found, str)
    return [each.nonzero()[:, 0].tolist() for each in found]


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_planted_ink_is_found_in_whole_pictures(noise: float) -> None:
    pixels = torch.stack([planted(4, 6, 5, [3, 8, 23], noise), planted(4, 6, 5, [0], noise)])
    assert marked(inked_tokens({"pixel_values": pixels}, 1, 2, 48)) == [[3, 8, 23], [0]]


def test_a_plain_picture_has_no_ink() -> None:
    pixels = torch.stack([planted(4, 6, 5, []), planted(4, 6, 5, [1])])
    assert marked(inked_tokens({"pixel_values": pixels}, 1, 2, 48)) == [[], [1]]
    assert not bool(has_ink(torch.full((4, 3, 25), 0.7)).any())


def test_padding_of_smaller_pictures_does_not_count() -> None:
    pixels = torch.zeros(2, 3, 20, 30)
    pixels[0], pixels[1, :, :10, :15] = planted(4, 6, 5, [7]), planted(2, 3, 5, [4])
    inputs = {"pixel_values": pixels, "image_sizes": torch.tensor([[20, 30], [10, 15]])}
    assert marked(inked_tokens(inputs, 1, 2, 30)) == [[7], [4]]


def test_patches_that_are_merged_are_one_token() -> None:
    """Rows of patches, the four of a token after one another, as processors of Qwen-VL give them."""
    rows = torch.full((32, 3 * 2 * 4), 1.0)
    rows[4 * 2 + 3, 5] = rows[16 + 4 * 1, 20] = -1.0
    inputs = {"pixel_values": rows, "image_grid_thw": torch.tensor([[1, 4, 4], [1, 2, 8]])}
    assert marked(inked_tokens(inputs, 2, 2, 8)) == [[2], [1]]
    assert marked(inked_tokens(inputs, 1, 2, 32)) == [[11], [4]]


@pytest.mark.parametrize(
    ("inputs", "count", "says"),
    [
        ({"pixel_values": torch.zeros(3, 3, 8, 8)}, 8, "several tiles"),
        ({"pixel_values": torch.zeros(1, 2, 3, 8, 8)}, 8, "several tiles"),
        ({}, 8, "does not say which pixels"),
        ({"pixel_values": torch.zeros(2, 3, 8, 8)}, 7, "no equal squares of pictures of 8 x 8, 8 x 8 pixels"),
        (
            {"pixel_values": torch.zeros(8, 12), "image_grid_thw": torch.tensor([[1, 2, 4]])},
            7,
            "the 7 image tokens are not the 8 patches",
        ),
        (
            {"pixel_values": torch.zeros(8, 12), "image_grid_thw": torch.tensor([[2, 2, 2]])},
            8,
            "several frames",
        ),
    ],
)
def test_where_it_is_not_known_the_reason_is_told(inputs: dict[str, Any], count: int, says: str) -> None:
    found = inked_tokens(inputs, 1, 2, count)
    assert isinstance(found, str) and says in found
