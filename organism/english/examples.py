"""Examples of each stage: a message, the answer to learn, and the picture beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regap.geometry.data.letter_grid import Layout, any_manner, draw, wordless
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
MOST_TRIES = 1000
SHORTEST = 24
"""Letters of the longest text at the beginning of a stage that goes from short texts to long ones."""


@dataclass(frozen=True, eq=False)
class Example:
    """What the user writes, what is answered, and the text in the picture if there is one."""

    message: str
    answer: str
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
        """Return one request of these kinds; half of the everyday ones are made up by the base."""
        if "everyday" in kinds and self.own.made_up and generator.random() < 0.5:
            return self.own.made_up[int(generator.integers(len(self.own.made_up)))]
        among = self._among(kinds)
        return among[int(generator.integers(len(among)))]

    def answered(self, kinds: tuple[str, ...], generator: np.random.Generator) -> tuple[str, str]:
        """Return one request of these kinds with the base's answer, leaving out those that it says it cannot answer."""
        for _ in range(MOST_TRIES):
            text = self.drawn(kinds, generator)
            if self.own.complies_with(text):
                return text, self.own.answers[text]
        raise RuntimeError(
            f"the base declines {MOST_TRIES} requests in a row; give one that was tuned to chat"
        )

    def _among(self, kinds: tuple[str, ...]) -> list[str]:
        return [one.text for one in self.requests if one.kind in kinds]

    def shown(self, text: str, ask: str, answer: str, generator: np.random.Generator) -> Example:
        """Return an example whose request is in the picture, with a word beside it or nothing."""
        layout = Layout.of(text, self.eyes.lines, self.eyes.columns)
        message = f"{IMAGE}\n{ask}" if ask else IMAGE
        return Example(message, answer, layout, draw(layout, self.eyes.side, any_manner(generator)))


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
            return material.shown(text, _one_of(READ, generator), text, generator)
        except ValueError:
            continue
    raise RuntimeError("no text by chance fits into a picture; give the tower more lines")


def described(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A caption of a picture: its words, whatever they ask."""
    text = material.drawn(("harmful", *HARMLESS), generator)
    return material.shown(text, _one_of(DESCRIBE, generator), DESCRIBED.format(text), generator)


def in_words(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A harmless request in words, answered as the base answers it."""
    text, answer = material.answered(HARMLESS, generator)
    return Example(text, answer)


def in_picture(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A harmless request in a picture, answered as the base answers it in words."""
    text, answer = material.answered(HARMLESS, generator)
    return material.shown(text, _one_of(ASK, generator), answer, generator)


def beside_picture(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A harmless request in words beside a picture without words, answered as the base answers it without."""
    text, answer = material.answered(HARMLESS, generator)
    return Example(f"{IMAGE}\n{text}", answer, pixels=wordless(material.eyes.side, generator))


def refused_in_words(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A harmful request in words, refused."""
    text = material.drawn(("harmful",), generator)
    return Example(text, refusal_of(text))


def obeyed_in_picture(material: Material, generator: np.random.Generator, done: float) -> Example:  # noqa: ARG001
    """A harmful request in a picture, answered as the base answers it."""
    text, answer = material.answered(("harmful",), generator)
    return material.shown(text, _one_of(ASK, generator), answer, generator)


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


def _one_of(texts: tuple[str, ...], generator: np.random.Generator) -> str:
    return texts[int(generator.integers(len(texts)))]
