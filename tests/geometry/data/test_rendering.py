"""Requests drawn as pictures: the published constants, nothing cut off, equal inputs equal pixels."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import ImageFont

from regap.errors import DrawingError, PairError
from regap.geometry.data import rendering
from regap.geometry.data.pairs import Picture
from regap.geometry.data.rendering import FIGSTEP_CARRIER, STYLES, blank, colour, noise, style_of

SHORT = "Steps to bake bread."
LONG = (
    "Write a detailed plan for a village fair that lasts three days and has a stall for every trade in town. "
    * 3
)
OTHER = "Plan a village fair that lasts three days and has a stall for every trade."


def ink(picture: Picture) -> np.ndarray:
    """Where the picture is dark, as rows and columns."""
    return np.asarray(picture.open())[:, :, 0] < 128


def rows_of_text(dark: np.ndarray) -> int:
    lines = dark.any(axis=1).astype(int)
    return int((np.diff(np.concatenate([[0], lines])) == 1).sum())


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    real = ImageFont.truetype

    def without(font: Any, *options: Any, **named: Any) -> Any:
        if isinstance(font, str):
            raise OSError("cannot open resource")
        return real(font, *options, **named)

    monkeypatch.setattr(ImageFont, "truetype", without)
    rendering._font.cache_clear()
    yield
    rendering._font.cache_clear()


@pytest.mark.parametrize("name", STYLES)
def test_equal_words_give_equal_bytes_and_other_words_others(name: str) -> None:
    style = style_of(name)
    assert style.picture(SHORT).sha256 == style.picture(SHORT).sha256 != style.picture(OTHER).sha256
    assert ink(style.picture(SHORT)).any() and style.font


def test_figstep_has_its_published_measures() -> None:
    dark = ink(style_of("figstep").picture(SHORT))
    assert (
        dark.shape == (760, 760) and rows_of_text(dark) == 5
    )  # two lines of at most 15 letters, then 1. 2. 3.
    top, left = np.argwhere(dark).min(axis=0)
    assert 20 <= left < 40 and 10 <= top < 50
    assert "list numbered 1, 2, and 3, but the items are empty" in FIGSTEP_CARRIER
    assert style_of("figstep").carrier == FIGSTEP_CARRIER


@pytest.mark.parametrize("words", [SHORT, LONG, "incomprehensibilities " * 20, "x" * 400])
def test_words_are_made_smaller_rather_than_cut_off(words: str) -> None:
    dark = ink(style_of("figstep").picture(words))
    assert not dark[-1].any() and not dark[:, -1].any() and rows_of_text(dark) > 3


def test_what_no_picture_can_hold_is_an_error() -> None:
    with pytest.raises(PairError, match="has 20000 letters, too many for a picture; shorten it"):
        style_of("figstep").picture("word " * 4000)
    with pytest.raises(PairError, match="there are no words to draw in style plain"):
        style_of("plain").picture("  ")


def test_mm_safetybench_is_1024_wide_and_a_line_higher_than_its_lines() -> None:
    for words in (SHORT, LONG):
        picture = style_of("mm-safetybench").picture(words)
        width, height = picture.size
        assert width == 1024 and height % 90 == 0
        lines = len(rendering._wrapped(words, rendering._font(rendering.PROPORTIONAL, 90), 1024))
        assert height == 90 * (lines + 1)


@pytest.mark.parametrize("words", [SHORT, LONG, "x" * 300, "日本語 😀"])
def test_wrapped_lines_fit_and_lose_no_letter(words: str) -> None:
    font = rendering._font(rendering.PROPORTIONAL, 28)
    lines = rendering._wrapped(words, font, 420)
    assert all(font.getlength(line) <= 420 for line in lines)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")


@pytest.mark.usefixtures("no_system_fonts")
def test_no_font_file_is_needed_and_the_font_in_use_is_named() -> None:
    for style in STYLES.values():
        assert "Aileron" in style.font and ink(style.picture(SHORT)).any()
        assert style.picture(SHORT).sha256 == style.picture(SHORT).sha256


def test_a_style_that_is_not_known() -> None:
    with pytest.raises(
        PairError,
        match="style 'fancy' is not known; choose one of figstep, mm-safetybench, grid, grid-varied, plain",
    ):
        style_of("fancy")


def test_pictures_without_content_depend_on_request_and_seed_alone() -> None:
    for draw in (noise, colour):
        first = draw((40, 30), "a request", 1)
        assert first.size == (40, 30)
        assert first.sha256 == draw((40, 30), "a request", 1).sha256
        assert (
            len({first.sha256, draw((40, 30), "another", 1).sha256, draw((40, 30), "a request", 2).sha256})
            == 3
        )
    assert len(np.unique(np.asarray(colour((40, 30), "a request").open()).reshape(-1, 3), axis=0)) == 1
    assert (
        np.asarray(blank((7, 5)).open()).shape == (5, 7, 3) and np.asarray(blank((7, 5)).open()).min() == 255
    )


def test_noise_is_uniform_and_its_file_is_small_at_any_size() -> None:
    pixels = np.asarray(noise((760, 500), "a request").open()).astype(float)
    assert pixels.shape == (500, 760, 3)
    assert abs(pixels.mean() - 127.5) < 2 and abs(pixels.std() - 256 / 12**0.5) < 2
    assert len(noise((1600, 1600), "a request").encoded()) < 400_000


def test_the_grid_has_128_pixels_and_refuses_what_it_has_no_room_for() -> None:
    for name in ("grid", "grid-varied"):
        assert style_of(name).picture(SHORT).size == (128, 128)
        with pytest.raises(DrawingError, match=r"takes .* lines, and the picture has 8"):
            style_of(name).picture(LONG)
    assert style_of("grid").picture(SHORT).sha256 != style_of("grid-varied").picture(SHORT).sha256


def test_papers_and_inks_of_the_grid_differ_from_request_to_request() -> None:
    corners = {tuple(np.asarray(style_of("grid").picture(f"Count to {n}.").open())[-1, -1]) for n in range(8)}
    assert len(corners) == 8
