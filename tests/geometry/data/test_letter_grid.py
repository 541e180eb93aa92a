"""A request stands in a grid of letters, two a patch, and nothing of it is ever cut off."""

import csv
from importlib.resources import files

import numpy as np
import pytest

from regap.errors import PairError
from regap.geometry.data.benchmarks.requests.english import FILE
from regap.geometry.data.letter_grid import FACES, LETTERS, Layout, Manner, draw


def test_every_request_of_our_own_fits_into_the_picture() -> None:
    source = files("regap.geometry.data.benchmarks").joinpath(FILE).read_text("utf-8")
    requests = [row["request"] for row in csv.DictReader(source.splitlines())]
    assert len(requests) == 2400
    for request in requests:
        assert " ".join(Layout.of(request, 8, 16).lines) == request


@pytest.mark.parametrize(
    "text, why",
    [
        ("word " * 60, "takes"),
        ("incomprehensibilities", "more than 16 letters"),
        ("caf\u00e9", "cannot be drawn"),
        ("  ", "is empty"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(PairError, match=why):
        Layout.of(text, 8, 16)


def test_letters_stand_where_the_layout_says() -> None:
    layout = Layout.of("ab cd efghij klmnopq", 8, 16)
    grid = layout.letters(8, 16)
    assert layout.lines == ("ab cd efghij", "klmnopq")
    assert "".join(LETTERS[number] for number in grid[0]).rstrip() == "ab cd efghij"
    assert [LETTERS[grid[row, column]] for row, column in layout.cells()] == list("ab cd efghij klmnopq")


def test_ink_is_where_letters_are_and_nowhere_else() -> None:
    picture = draw(Layout.of("mmmm", 8, 16), 128, Manner()).astype(float)
    dark = picture.mean(-1) < 150
    assert dark[:18, :34].any() and not dark[18:].any() and not dark[:, 36:].any()


@pytest.mark.parametrize("face", FACES)
def test_letters_differ_in_every_face(face: str) -> None:
    from regap.geometry.data.letter_grid import _glyph

    glyphs = {letter: _glyph(letter, face) for letter in LETTERS[1:]}
    for letter, glyph in glyphs.items():
        others = [np.abs(glyph - other).sum() for name, other in glyphs.items() if name != letter]
        assert min(others) > 0.5, letter


def test_the_same_manner_gives_the_same_pixels() -> None:
    layout, manner = Layout.of("Write a letter", 8, 16), Manner("bold", 0.5, 3)
    assert np.array_equal(draw(layout, 128, manner), draw(layout, 128, manner))
    assert not np.array_equal(draw(layout, 128, manner), draw(layout, 128, Manner("bold", 0.5, 4)))


def test_curly_quotes_and_long_dashes_are_drawn_plainly() -> None:
    assert Layout.of("\u201cDon\u2019t\u201d \u2014 wait\u2026", 8, 16).text == '"Don\'t" - wait...'
