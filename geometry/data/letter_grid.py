"""Pictures of a request in a grid of letters, small enough for a small tower, and the cell of each letter."""

from dataclasses import dataclass
from functools import cache
from textwrap import wrap
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from regap.errors import DrawingError

CELL_WIDTH, CELL_HEIGHT = 8, 16
"""The cell of one letter in pixels."""
LINES = 8
"""Lines of the grid; it is a square, so this also decides the letters in a line."""
SIDE = LINES * CELL_HEIGHT
COLUMNS = SIDE // CELL_WIDTH
"""Letters in a line."""
LETTERS = "".join(chr(code) for code in range(32, 127))
"""What can be drawn; the first, a space, leaves its cell empty."""
PLAINER = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u2026": "...",
    }
)
"""Marks that are drawn as their plain forms."""
FACES = ("plain", "bold", "slanted", "bitmap")
"""Pillow's two fonts; the first also with a stroke, and leaning to the right."""


@dataclass(frozen=True)
class Manner:
    """How a picture is drawn besides its letters."""

    face: str = "plain"
    clutter: float = 0.0
    """From 0 to 1: grain, strokes, and less contrast between ink and paper."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.face not in FACES or not 0 <= self.clutter <= 1:
            raise ValueError(
                f"face is {self.face!r} and clutter {self.clutter}; choose one of {', '.join(FACES)}, and 0 to 1"
            )


@dataclass(frozen=True)
class Layout:
    """The lines of a text in a grid, and the cell of each of its letters."""

    text: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, text: str, count: int, columns: int) -> "Layout":
        """Return the text in at most `count` lines of `columns` letters, broken between words.

        Curly quotes, long dashes and dots are drawn plainly. Raises DrawingError, naming the text, if it is too long,
        has a word longer than a line, or a letter that cannot be drawn: nothing is ever cut off.
        """
        words = " ".join(text.translate(PLAINER).split())
        strange = sorted(set(words) - set(LETTERS))
        longest = max(words.split(), key=len, default="")
        lines = wrap(words, columns, break_long_words=False, break_on_hyphens=False)
        if strange or not words or len(longest) > columns or len(lines) > count:
            why = (
                f"has {strange[0]!r}, which cannot be drawn"
                if strange
                else "is empty"
                if not words
                else f"has the word {longest!r} of more than {columns} letters"
                if len(longest) > columns
                else f"takes {len(lines)} lines, and the picture has {count}"
            )
            raise DrawingError(f"request {words[:200]!r} {why}; shorten it, or write it in another way")
        return cls(words, tuple(lines))

    def cells(self) -> list[tuple[int, int]]:
        """Return line and column of each letter of the text; a space at the end of a line is in the column after it."""
        return [(row, column) for row, line in enumerate(self.lines) for column in range(len(line) + 1)][:-1]

    def letters(self, count: int, columns: int) -> Int[np.ndarray, "line column"]:
        """Return the number of the letter in each cell of the grid; 0 is a space."""
        found = np.zeros((count, columns), dtype=np.int64)
        for row, line in enumerate(self.lines):
            found[row, : len(line)] = [LETTERS.index(letter) for letter in line]
        return found


def draw(layout: Layout, side: int, manner: Manner) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture; the same text and manner give the same pixels."""
    generator = np.random.default_rng(manner.seed)
    paper = generator.integers(215, 256, 3)
    tone = 10 + 100 * manner.clutter
    image = Image.new("RGB", (side, side), tuple(paper.tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(round(10 * manner.clutter)):
        x, y, dx, dy = generator.integers(0, side, 4).tolist()
        shade = tuple(generator.integers(120, 200, 3).tolist())
        pen.line((x, y, x + dx - side // 2, y + dy - side // 2), fill=shade, width=1)
    ink = np.zeros((side, side))
    for row, line in enumerate(layout.lines):
        down, across = generator.integers(-1, 2, 2).tolist()
        for column, letter in enumerate(line):
            _type(ink, letter, manner.face, row * CELL_HEIGHT + down, column * CELL_WIDTH + across)
    colour = tone + generator.integers(0, 50, 3)
    inked = np.asarray(image) * (1 - ink[..., None]) + colour * ink[..., None]
    grain = generator.standard_normal((side, side, 1)) * (3 + 25 * manner.clutter)
    return np.clip(inked + grain, 0, 255).round().astype(np.uint8)


def any_manner(generator: np.random.Generator) -> Manner:
    """Return a face and a little clutter by chance, as pictures for training have."""
    face = FACES[int(generator.integers(len(FACES)))]
    return Manner(face, float(generator.uniform(0, 0.5)), int(generator.integers(2**31)))


def _type(ink: Float[np.ndarray, "height width"], letter: str, face: str, top: int, left: int) -> None:
    glyph, (height, width) = _glyph(letter, face), ink.shape
    up, down = max(0, top), min(height, top + CELL_HEIGHT)
    one, other = max(0, left), min(width, left + CELL_WIDTH)
    area = ink[up:down, one:other]
    np.maximum(area, glyph[up - top : down - top, one - left : other - left], out=area)


@cache
def _glyph(letter: str, face: str) -> Float[np.ndarray, "height width"]:
    """The ink of the letter on each pixel of its cell, from 0 to 1: drawn large, then fitted to the cell."""
    font: Any = ImageFont.load_default_imagefont() if face == "bitmap" else ImageFont.load_default(size=52)
    if face != "bitmap" and not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError(
            "Pillow was built without FreeType, so its scalable font is missing; install a full Pillow"
        )
    if face == "bitmap":
        cell = Image.new("L", (6, 12))
        ImageDraw.Draw(cell).text((0, 0), letter, font=font, fill=255)
    else:
        width = max(32, round(font.getlength(letter)) + 8)
        cell = Image.new("L", (width, 64))
        stroke = 3 if face == "bold" else 0
        ImageDraw.Draw(cell).text(
            (width / 2, 46), letter, font=font, fill=255, anchor="ms", stroke_width=stroke
        )
        if face == "slanted":
            cell = cell.transform(
                cell.size, Image.Transform.AFFINE, (1, 0.25, -8, 0, 1, 0), Image.Resampling.BILINEAR
            )
    return (
        np.asarray(cell.resize((CELL_WIDTH, CELL_HEIGHT), Image.Resampling.BILINEAR), dtype=np.float64) / 255
    )
