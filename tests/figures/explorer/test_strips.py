"""Patches lie where they are in the picture, tokens are coloured by what is asked, and the words stay words."""

from dataclasses import replace
from typing import Any

import hostile_run as made
import pytest

from regap.analyses.live.question import LiveAnswer, LivePicture, LiveState
from regap.figures.explorer.views.live import Colouring, strips, width_of

STATE = LiveState("", "refused", "", [], [])


@pytest.fixture
def answer() -> LiveAnswer:
    """Two words round a picture of 2 × 3 patches, twice as wide as high."""
    z = [1.0, *map(float, range(6)), -1.0]
    delta = [0.0, *map(float, range(0, -6, -1)), 0.0]
    tokens = ["a", *["<image>"] * 6, "b"]
    picture = LivePicture(made.png(), 40, 20, 2, 3)
    return LiveAnswer("j", "", STATE, STATE, 0.0, 0.0, tokens, z, delta, range(1, 7), picture)


def parts_of(shown: list[Any], name: str) -> list[Any]:
    return [
        part for each in shown for part in each._traverse() if name in str(getattr(part, "className", ""))
    ]


def test_patches_lie_over_the_picture_line_by_line(answer: LiveAnswer) -> None:
    [button] = parts_of(strips(answer, "refusal"), "patched")
    image, grid = button.children
    assert image.src.startswith("data:image/png;base64,")
    assert grid.style == {"gridTemplateColumns": "repeat(3, 1fr)", "gridTemplateRows": "repeat(2, 1fr)"}
    assert [patch.title.split("z ")[1][0] for patch in grid.children] == list("012345")
    assert button.style == {"width": "280px", "aspectRatio": "40 / 20"}
    assert width_of(LivePicture(b"", 20, 40, 0, 0)) == 140


def test_tokens_and_patches_take_their_colour_from_what_is_asked(answer: LiveAnswer) -> None:
    by = {
        along: parts_of(strips(answer, along), "patched")[0].children[1].children
        for along in ("refusal", "drift")
    }
    red, blue = (patches[5].style["background"] for patches in (by["refusal"], by["drift"]))
    assert red == Colouring([1.0], 1.0)[0] and blue == Colouring([-1.0], 1.0)[0] and red != blue
    words = {along: parts_of(strips(answer, along), "tokens")[0].children for along in by}
    assert words["refusal"][0].style != words["drift"][0].style
    assert "along r" in str(strips(answer, "refusal")) and "along D" in str(strips(answer, "drift"))


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (LivePicture(made.png(), 40, 20, 0, 0, "cut into tiles"), "cut into tiles"),
        (LivePicture(made.png(), 40, 20, 2, 2), "cannot be shown"),
        (LivePicture(b"<svg onload=alert(1)>", 40, 20, 2, 3), "cannot be shown"),
        (None, "cannot be shown"),
    ],
)
def test_patches_that_are_no_rectangle_stand_alone(
    answer: LiveAnswer, picture: LivePicture | None, says: str
) -> None:
    shown = strips(replace(answer, picture=picture), "refusal")
    assert not parts_of(shown, "patched") and len(parts_of(shown, "strip")[0].children) == 6
    assert says in str(shown) and "not over the picture" in str(shown)


def test_a_prompt_of_words_alone_has_no_picture(answer: LiveAnswer) -> None:
    shown = strips(replace(answer, picture=None, image_tokens=()), "refusal")
    assert not parts_of(shown, "strip") and len(parts_of(shown, "tokens")[0].children) == 8
