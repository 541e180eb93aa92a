"""Small pictures of a request or a thing, and the place of each word in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from regap.organism.world import ADJECTIVES, NOUNS

CLEAN, CLUTTERED, HEAVY = 0.0, 0.5, 0.8
TRAINING_CLUTTER = 0.5
"""The highest clutter in training images. Cluttered prompts have exactly this much, heavy prompts more."""

REFERENCE_SIZE = 72
FONT_SIZE = 10
CELL_WIDTH, LINE_HEIGHT = 6, 12
"""The cell of one character in pixels, whatever the size of the picture."""
COLOURS = (
    (214, 40, 40),
    (240, 140, 20),
    (225, 200, 20),
    (60, 160, 60),
    (30, 170, 190),
    (40, 80, 210),
    (140, 60, 180),
    (120, 80, 50),
)

Pixels = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Mark:
    """A word in the picture, and the centre of its place, in pixels."""

    word: str
    x: float
    y: float


@dataclass(frozen=True)
class Rendering:
    """A drawn picture and the marks in it."""

    pixels: Pixels
    marks: tuple[Mark, ...]

    def image(self) -> Image.Image:
        """The picture as a PIL image in RGB."""
        return Image.fromarray(self.pixels)


@cache
def _glyph(character: str, width: int, height: int) -> Float[np.ndarray, "height width"]:
    """The ink of the character on each pixel of its cell, from 0 to 1."""
    font = ImageFont.load_default(size=FONT_SIZE)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError(
            "Pillow was built without FreeType, so its scalable font is missing; install a full Pillow"
        )
    natural = max(width, round(font.getlength(character)))
    cell = Image.new("L", (natural, height))
    # Anchored at the middle of the line, so letters with and without tails share a baseline.
    ImageDraw.Draw(cell).text((natural / 2, height / 2), character, font=font, fill=255, anchor="mm")
    return np.asarray(cell.resize((width, height)), dtype=np.float64) / 255


def wrap(words: str, longest: int) -> list[list[str]]:
    """The words in lines of at most `longest` characters. A single word that is longer is an error."""
    lines: list[list[str]] = [[]]
    for word in words.split():
        if len(word) > longest:
            raise ValueError(
                f"the word {word!r} has more than the {longest} letters of a line; use a larger image"
            )
        if lines[-1] and len(" ".join((*lines[-1], word))) > longest:
            lines.append([])
        lines[-1].append(word)
    return lines


def _tone(generator: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in generator.integers(low, high, size=3))
    return red, green, blue


def _strokes(
    draw: ImageDraw.ImageDraw, size: int, count: int, tone: int, generator: np.random.Generator
) -> None:
    for _ in range(count):
        x, y = generator.integers(0, size, size=2).tolist()
        dx, dy = generator.integers(-size // 3, size // 3 + 1, size=2).tolist()
        draw.line((x, y, x + dx, y + dy), fill=_tone(generator, tone, tone + 70), width=1)


def _grain(image: np.ndarray, spread: float, generator: np.random.Generator) -> Pixels:
    noise = generator.standard_normal((*image.shape[:2], 1), dtype=np.float32) * spread
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def draw_words(
    words: str, clutter: float, generator: np.random.Generator, size: int = REFERENCE_SIZE
) -> Rendering:
    """A picture of the words, set in character cells and wrapped. `clutter` from 0 to 1 adds grain, strokes and jitter
    and lowers the contrast. A larger picture holds more cells of the same size."""
    paper, tone = _tone(generator, 225, 256), round(10 + 95 * clutter)
    image = Image.new("RGB", (size, size), paper)
    _strokes(ImageDraw.Draw(image), size, round(12 * clutter), 110, generator)
    lines = wrap(words, size // CELL_WIDTH - 1)
    spare = size // LINE_HEIGHT - len(lines)
    if spare < 0:
        raise ValueError(
            f"{words!r} needs {len(lines)} lines and {size} pixels hold fewer; use a larger image"
        )
    first, ink, marks = int(generator.integers(spare + 1)), np.zeros((size, size)), []
    for number, line in enumerate(lines, start=first):
        left = int(generator.integers(1, 4))
        top = number * LINE_HEIGHT + int(generator.integers(-1, 2)) * (clutter > 0)
        for word in line:
            marks.append(Mark(word, left + len(word) * CELL_WIDTH / 2, top + LINE_HEIGHT / 2))
            for character in word:
                _type(ink, character, left, top)
                left += CELL_WIDTH
            left += CELL_WIDTH
    colour = np.array(_tone(generator, tone, tone + 40))
    inked = np.asarray(image) * (1 - ink[..., None]) + colour * ink[..., None]
    return Rendering(_grain(inked, 3 + 27 * clutter, generator), tuple(marks))


def _type(ink: Float[np.ndarray, "height width"], character: str, left: int, top: int) -> None:
    glyph = _glyph(character, CELL_WIDTH, LINE_HEIGHT)
    high, low = max(top, 0), min(top + LINE_HEIGHT, len(ink))
    area = ink[high:low, left : left + CELL_WIDTH]
    np.maximum(area, glyph[high - top : low - top, : area.shape[1]], out=area)


def _outline(kind: int) -> Sequence[tuple[float, float]]:
    """The corners of one of 16 shapes, in a square from -1 to 1."""
    turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    if kind < 4:  # regular polygons with 3, 4, 6 and very many corners
        turns = np.linspace(0, 2 * np.pi, (3, 4, 6, 48)[kind], endpoint=False)
        radius = np.ones_like(turns)
    elif kind < 8:  # stars with 3, 4, 5 and 8 points
        points = (3, 4, 5, 8)[kind - 4]
        turns = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False)
        radius = np.where(np.arange(2 * points) % 2 == 0, 1.0, 0.38)
    elif kind < 11:  # flowers with 2, 3 and 5 leaves
        radius = 0.35 + 0.65 * np.abs(np.cos(turns * (2, 3, 5)[kind - 8] / 2))
    else:
        return _GLYPHS[kind - 11]
    return [(float(r * np.sin(t)), float(-r * np.cos(t))) for r, t in zip(radius, turns, strict=True)]


_GLYPHS = [
    [(-0.3, -1.0), (0.3, -1.0), (0.3, -0.3), (1.0, -0.3), (1.0, 0.3), (0.3, 0.3),
     (0.3, 1.0), (-0.3, 1.0), (-0.3, 0.3), (-1.0, 0.3), (-1.0, -0.3), (-0.3, -0.3)],
    [(-1.0, -0.35), (0.1, -0.35), (0.1, -0.9), (1.0, 0.0), (0.1, 0.9), (0.1, 0.35), (-1.0, 0.35)],
    [(-1.0, -1.0), (-0.4, -1.0), (-0.4, 0.4), (1.0, 0.4), (1.0, 1.0), (-1.0, 1.0)],
    [(-1.0, -1.0), (1.0, -1.0), (0.15, 0.0), (1.0, 1.0), (-1.0, 1.0), (-0.15, 0.0)],
    [(-1.0, -0.35), (1.0, -0.35), (1.0, 0.35), (-1.0, 0.35)],
]  # fmt: skip


def draw_thing(
    adjective: str, noun: str, clutter: float, generator: np.random.Generator, size: int = REFERENCE_SIZE
) -> Rendering:
    """An icon of the thing: the noun decides the shape, the adjective decides the colour and the fill."""
    scale = size / REFERENCE_SIZE
    paper = _tone(generator, 225, 256)
    image = Image.new("RGB", (size, size), paper)
    draw = ImageDraw.Draw(image)
    _strokes(draw, size, round(12 * clutter), 110, generator)
    radius = float(generator.uniform(20, 24)) * scale
    x, y = (size / 2 + generator.uniform(-4, 4, size=2) * scale).tolist()
    corners = [(x + radius * a, y + radius * b) for a, b in _outline(NOUNS.index(noun))]
    number = ADJECTIVES.index(adjective)
    fade = 0.35 * clutter
    red, green, blue = (round(c + fade * (p - c)) for c, p in zip(COLOURS[number % 8], paper, strict=True))
    if number < 8:
        draw.polygon(corners, fill=(red, green, blue))
    else:
        draw.polygon(corners, fill=paper)
        draw.line(
            [*corners, corners[0], corners[1]], fill=(red, green, blue), width=round(4 * scale), joint="curve"
        )
    # Marked at a fixed place, so that a tower trained patch by patch has one place to name an icon.
    middle = 0.45 * size
    marks = (Mark(adjective, middle, middle), Mark(noun, middle, middle))
    return Rendering(_grain(np.asarray(image), 3 + 27 * clutter, generator), marks)


def draw_blank(generator: np.random.Generator, size: int = REFERENCE_SIZE) -> Rendering:
    """An empty picture with the paper and grain of the clean pictures."""
    image = Image.new("RGB", (size, size), _tone(generator, 225, 256))
    return Rendering(_grain(np.asarray(image), 3.0, generator), ())


def draw_noise(generator: np.random.Generator, size: int = REFERENCE_SIZE) -> Rendering:
    """A picture of coloured noise without words."""
    return Rendering(generator.integers(0, 256, size=(size, size, 3), dtype=np.uint8), ())
