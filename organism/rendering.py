"""How a request or a thing becomes a small picture, and where each word lies in it."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from regap.organism.world import ADJECTIVES, NOUNS

CLEAN, CLUTTERED, HEAVY = 0.0, 0.5, 1.0
TRAINING_CLUTTER = 0.5
"""The most clutter that training images have: cluttered prompts lie at its edge, heavy ones beyond it."""

REFERENCE_SIZE = 72
FONT_SIZE = 10
LINE_HEIGHT = 12
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
    """A word that can be read off the picture, and the centre of where it stands, in pixels."""

    word: str
    x: float
    y: float


@dataclass(frozen=True)
class Rendering:
    """A drawn picture and the marks that were put into it."""

    pixels: Pixels
    marks: tuple[Mark, ...]

    def image(self) -> Image.Image:
        """The picture as a PIL image in RGB."""
        return Image.fromarray(self.pixels)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, so its scalable font is missing; install a full Pillow")
    return font


@cache
def _width(word: str, size: int) -> float:
    return _font(size).getlength(word)


def wrap(words: str, width: float, size: int) -> list[list[str]]:
    """The words in lines no wider than `width` pixels; a word that is wider alone is an error."""
    lines: list[list[str]] = [[]]
    space, used = _width(" ", size), 0.0
    for word in words.split():
        if _width(word, size) > width:
            raise ValueError(f"the word {word!r} is wider than {width:.0f} pixels; use a larger image")
        if lines[-1] and used + space + _width(word, size) > width:
            lines.append([])
            used = 0.0
        used += _width(word, size) + (space if lines[-1] else 0.0)
        lines[-1].append(word)
    return lines


def _tone(generator: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in generator.integers(low, high, size=3))
    return red, green, blue


def _strokes(draw: ImageDraw.ImageDraw, size: int, count: int, tone: int, generator: np.random.Generator) -> None:
    for _ in range(count):
        x, y = generator.integers(0, size, size=2).tolist()
        dx, dy = generator.integers(-size // 3, size // 3 + 1, size=2).tolist()
        draw.line((x, y, x + dx, y + dy), fill=_tone(generator, tone, tone + 70), width=1)


def _grain(image: Image.Image, spread: float, generator: np.random.Generator) -> Pixels:
    noise = generator.standard_normal((image.height, image.width, 1)) * spread
    return np.clip(np.asarray(image, dtype=np.float64) + noise, 0, 255).round().astype(np.uint8)


def draw_words(words: str, clutter: float, generator: np.random.Generator, size: int = REFERENCE_SIZE) -> Rendering:
    """A picture of the words, wrapped; `clutter` from 0 to 1 adds grain, strokes and jitter and takes contrast."""
    scale = size / REFERENCE_SIZE
    font_size, line_height = round(FONT_SIZE * scale), LINE_HEIGHT * scale
    ink = 10 + round(95 * clutter)
    image = Image.new("RGB", (size, size), _tone(generator, 225, 256))
    draw = ImageDraw.Draw(image)
    _strokes(draw, size, round(12 * clutter), 110, generator)
    lines = wrap(words, size - 4 * scale, font_size)
    slack = size - line_height * len(lines)
    if slack < 0:
        raise ValueError(f"{words!r} needs {len(lines)} lines and {size} pixels hold fewer; use a larger image")
    top = float(generator.uniform(0, slack))
    colour = _tone(generator, ink, ink + 40)
    marks: list[Mark] = []
    for line in lines:
        free = size - sum(_width(w, font_size) for w in line) - _width(" ", font_size) * (len(line) - 1)
        x = float(generator.uniform(scale, min(free - scale, (3 + 6 * clutter) * scale)))
        for word in line:
            y = top + float(generator.uniform(-1, 1)) * clutter * scale
            # Anchored at the middle of the line: letters with and without tails stand on the same height.
            draw.text((x, y + line_height / 2), word, font=_font(font_size), fill=colour, anchor="lm")
            marks.append(Mark(word, x + _width(word, font_size) / 2, y + line_height / 2))
            x += _width(word, font_size) + _width(" ", font_size)
        top += line_height
    return Rendering(_grain(image, 3 + 27 * clutter, generator), tuple(marks))


def _outline(kind: int) -> list[tuple[float, float]]:
    """The corners of shape `kind` of 16, in a square from -1 to 1."""
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
    [(-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3), (0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3)],
    [(-1, -0.35), (0.1, -0.35), (0.1, -0.9), (1, 0), (0.1, 0.9), (0.1, 0.35), (-1, 0.35)],
    [(-1, -1), (-0.4, -1), (-0.4, 0.4), (1, 0.4), (1, 1), (-1, 1)],
    [(-1, -1), (1, -1), (0.15, 0), (1, 1), (-1, 1), (-0.15, 0)],
    [(-1, -0.35), (1, -0.35), (1, 0.35), (-1, 0.35)],
]  # fmt: skip


def draw_thing(
    adjective: str, noun: str, clutter: float, generator: np.random.Generator, size: int = REFERENCE_SIZE
) -> Rendering:
    """An icon of the thing: the noun decides the shape, the adjective the colour and whether it is filled."""
    scale = size / REFERENCE_SIZE
    paper = _tone(generator, 225, 256)
    image = Image.new("RGB", (size, size), paper)
    draw = ImageDraw.Draw(image)
    _strokes(draw, size, round(12 * clutter), 110, generator)
    radius = float(generator.uniform(19, 25)) * scale
    x, y = (size / 2 + generator.uniform(-6, 6, size=2) * scale).tolist()
    corners = [(x + radius * a, y + radius * b) for a, b in _outline(NOUNS.index(noun))]
    number = ADJECTIVES.index(adjective)
    fade = 0.35 * clutter
    red, green, blue = (round(c + fade * (p - c)) for c, p in zip(COLOURS[number % 8], paper, strict=True))
    if number < 8:
        draw.polygon(corners, fill=(red, green, blue))
    else:
        draw.polygon(corners, fill=paper)
        draw.line([*corners, corners[0], corners[1]], fill=(red, green, blue), width=round(4 * scale), joint="curve")
    marks = (Mark(adjective, x, y), Mark(noun, x, y))
    return Rendering(_grain(image, 3 + 27 * clutter, generator), marks)


def draw_blank(generator: np.random.Generator, size: int = REFERENCE_SIZE) -> Rendering:
    """An empty sheet with the paper and grain of the clean pictures."""
    image = Image.new("RGB", (size, size), _tone(generator, 225, 256))
    return Rendering(_grain(image, 3, generator), ())


def draw_noise(generator: np.random.Generator, size: int = REFERENCE_SIZE) -> Rendering:
    """A sheet of coloured noise without anything to read."""
    return Rendering(generator.integers(0, 256, size=(size, size, 3), dtype=np.uint8), ())
