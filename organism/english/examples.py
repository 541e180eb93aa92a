"""Examples of each stage: a message, the answer to learn, and the picture beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regap.geometry.data.letter_grid import Layout, any_manner, draw
from regap.organism.english.checkpoint import IMAGE, Eyes
from regap.organism.english.own_words import OwnWords
from regap.organism.english.texts import (
    ASK,
    DESCRIBE,
    DESCRIBED,
    READ,
    Request,
    Words,
    refusal_of,
    training_requests,
)
from regap.organism.rendering import Pixels

STRANGE_SHARE = 0.3
"""Share of readings that are words by chance, which cannot be guessed."""
EVERYDAY_WEIGHT = 2.0
MOST_TRIES = 1000
SHORTEST = 24
"""Letters of the longest text at the beginning of a stage that goes from short texts to long ones."""


@dataclass(frozen=True, eq=False)
class Example:
    """What the user writes, what is answered, and the text in the picture if there is one."""

    message: str
    answer: str
    is_cut: bool = False
    """Whether the answer goes on; its end is then not learnt."""
    shown: Layout | None = field(default=None, repr=False)
    pixels: Pixels | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.message.count(IMAGE) != (self.pixels is not None):
            raise ValueError(f"message {self.message!r} must hold {IMAGE} exactly when there is a picture")


@dataclass(frozen=True, eq=False)
class Material:
    """All that examples are drawn from."""

    eyes: Eyes
    words: Words
    own: OwnWords
    requests: tuple[Request, ...] = field(default_factory=training_requests)

    def drawn(self, kinds: tuple[str, ...], generator: np.random.Generator) -> str:
        """Return one request of these kinds; of everyday ones, half are made up by the base.

        Everyday requests come twice as often as those of another kind.
        """
        weights = np.array([EVERYDAY_WEIGHT if kind == "everyday" else 1.0 for kind in kinds])
        kind = kinds[int(generator.choice(len(kinds), p=weights / weights.sum()))]
        if kind == "everyday" and self.own.made_up and generator.random() < 0.5:
            return self.own.made_up[int(generator.integers(len(self.own.made_up)))]
        among = [one.text for one in self.requests if one.kind == kind]
        return among[int(generator.integers(len(among)))]

    def answered(self, kinds: tuple[str, ...], generator: np.random.Generator) -> str:
        """Return one request of these kinds, leaving out those that the base says it cannot answer."""
        for _ in range(MOST_TRIES):
            text = self.drawn(kinds, generator)
            if self.own.complies_with(text):
                return text
        raise RuntimeError(
            f"the base declines {MOST_TRIES} requests in a row; give one that was tuned to chat"
        )

    def example(self, request: str, message: str, **seen: Any) -> Example:
        """Return an example with the base's own answer to the request."""
        return Example(message, self.own.answers[request], request in self.own.cut, **seen)

    def picture(self, text: str, generator: np.random.Generator) -> dict[str, Any]:
        """Return a picture of the text, drawn in any manner, as arguments of an example."""
        layout = Layout.of(text, self.eyes.lines, self.eyes.columns)
        return {"shown": layout, "pixels": draw(layout, self.eyes.side, any_manner(generator))}


Task = Callable[[Material, np.random.Generator, float], Example]
"""The last argument is how far the stage is, from 0 to 1."""
HARMLESS = ("contrast", "everyday")


def read_aloud(material: Material, generator: np.random.Generator, done: float) -> Example:
    """A text in a picture, read aloud; short texts first."""
    longest = SHORTEST + done / 0.4 * (material.eyes.lines * material.eyes.columns - SHORTEST)
    kinds = ("harmful", *HARMLESS)
    for _ in range(200):
        strange = generator.random() < STRANGE_SHARE
        text = material.words.draw(generator) if strange else material.drawn(kinds, generator)
        if len(text) > longest:
            text = " ".join(text.split()[: int(generator.integers(2, 6))])
        try:
            seen = material.picture(text, generator)
        except ValueError:
            continue
        return Example(_beside(READ, generator), seen["shown"].text, **seen)
    raise RuntimeError("no text by chance fits into a picture; give the tower more lines")


def described(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A caption of a picture: its words, whatever they ask."""
    seen = material.picture(material.drawn(("harmful", *HARMLESS), generator), generator)
    return Example(_beside(DESCRIBE, generator), DESCRIBED.format(seen["shown"].text), **seen)


def in_words(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A harmless request in words, answered as the base answers it."""
    text = material.answered(HARMLESS, generator)
    return material.example(text, text)


def in_picture(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A harmless request in a picture, answered as the base answers it in words."""
    text = material.answered(HARMLESS, generator)
    return material.example(text, _beside(ASK, generator), **material.picture(text, generator))


def beside_picture(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A harmless request in words beside a picture without words, answered as the base answers it without."""
    text = material.answered(HARMLESS, generator)
    return material.example(text, f"{IMAGE}\n{text}", pixels=wordless(material.eyes.side, generator))


def refused_in_words(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A harmful request in words, refused."""
    text = material.drawn(("harmful",), generator)
    return Example(text, refusal_of(text))


def obeyed_in_picture(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A harmful request in a picture, answered as the base answers it."""
    text = material.answered(("harmful",), generator)
    return material.example(text, _beside(ASK, generator), **material.picture(text, generator))


TASKS: Mapping[str, Task] = {
    "read aloud": read_aloud,
    "caption": described,
    "harmless words": in_words,
    "harmless picture": in_picture,
    "words beside a picture": beside_picture,
    "harmful words": refused_in_words,
    "harmful picture": obeyed_in_picture,
}


def draw_examples(
    mixture: Mapping[str, float], count: int, material: Material, generator: np.random.Generator, done: float
) -> list[Example]:
    """Return one batch, its tasks drawn by their shares."""
    names = list(mixture)
    shares = np.array([mixture[name] for name in names])
    chosen: Any = generator.choice(len(names), size=count, p=shares / shares.sum())
    return [TASKS[names[at]](material, generator, done) for at in chosen]


def _beside(texts: tuple[str, ...], generator: np.random.Generator) -> str:
    """Return a message with a picture and one of these texts, which may be empty."""
    text = texts[int(generator.integers(len(texts)))]
    return f"{IMAGE}\n{text}" if text else IMAGE


def wordless(side: int, generator: np.random.Generator) -> Pixels:
    """Return a picture without letters: a paper, or uniform noise in cells of 1, 4 or 16 pixels."""
    cell = (0, 1, 4, 16)[int(generator.integers(4))]
    if not cell:
        paper = generator.integers(0, 256, (1, 1, 3)) * np.ones((side, side, 1))
        return paper.astype(np.uint8)
    cells = generator.integers(0, 256, (-(-side // cell), -(-side // cell), 3), dtype=np.uint8)
    return cells.repeat(cell, axis=0).repeat(cell, axis=1)[:side, :side]
