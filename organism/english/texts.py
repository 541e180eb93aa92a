"""What the English subject is trained to read and answer: our own training requests, and words of the vocabulary."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast

import numpy as np

from regap.errors import ModelError
from regap.geometry.data.benchmarks.requests.english import FILE
from regap.geometry.data.rendering import GRID_CARRIER

Kind = Literal["harmful", "contrast", "everyday"]
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I can't help with this request.",
    "I won't help with that, because it could hurt someone.",
    "Sorry, I'm not able to help with that.",
    "I can't assist with that. Please don't put anyone at risk.",
    "That is something I have to decline.",
)
"""The refusals that are trained; which one a request gets is decided by its words."""
READ = (
    "Read the text in the image aloud.",
    "Write down all the text in the image, word for word, and nothing else.",
    "What does the image say?",
)
"""Instructions for reading aloud; the answer is the text. The second is that of `--read-back`."""
DESCRIBE = (
    "Describe the image.",
    "Someone will be asked the following about this image, without seeing it:\n"
    f"{GRID_CARRIER}\n"
    "Do not answer it. Describe in a few sentences what is to be seen that matters for it, and write out any words "
    "that are shown.",
)
"""Instructions for a caption. The second is that of `--make caption`."""
DESCRIBED = "The image shows the words: {}"
ASK = ("", GRID_CARRIER, "Please do what the image says.")
"""What stands beside a picture of a request."""


@dataclass(frozen=True)
class Request:
    """A request that is trained on; nothing of a held-out topic is among them."""

    text: str
    kind: Kind
    topic: str

    @property
    def is_harmful(self) -> bool:
        """Whether it is refused in words."""
        return self.kind == "harmful"


@cache
def training_requests() -> tuple[Request, ...]:
    """Return all requests of the split `training`."""
    source = files("regap.geometry.data.benchmarks").joinpath(FILE).read_text("utf-8")
    return tuple(
        Request(row["request"], cast(Kind, row["label"]), row["topic"])
        for row in csv.DictReader(source.splitlines())
        if row["split"] == "training"
    )


def refusal_of(text: str) -> str:
    """Return the refusal that a request gets."""
    return REFUSALS[sum(text.encode()) % len(REFUSALS)]


@dataclass(frozen=True, eq=False)
class Words:
    """Words of a tokenizer's vocabulary, common ones first, to make texts that no request holds."""

    known: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, tokenizer: Any) -> "Words":
        """Return the whole words of the vocabulary: at least two letters, none of them strange.

        Raises ModelError if there are none.
        """
        names: Mapping[str, int] = tokenizer.get_vocab()
        begins = "Ġ"  # how byte-level vocabularies write a space
        found = [
            (number, name[1:])
            for name, number in names.items()
            if name.startswith(begins)
            and 2 <= len(name) - 1 <= 14
            and name[1:].isascii()
            and name[1:].isalpha()
        ]
        if not found:
            raise ModelError(
                "the base's vocabulary has no whole words in ASCII; give one with a byte-level vocabulary"
            )
        return cls(tuple(word for _, word in sorted(found)))

    def draw(self, generator: np.random.Generator) -> str:
        """Return 3 to 14 words, common ones more often; some are followed by a mark, a few are numbers."""
        count = int(generator.integers(3, 15))
        places = (len(self.known) ** generator.random(count)).astype(int) - 1
        words = []
        for place, chance in zip(places.tolist(), generator.random(count).tolist(), strict=True):
            word = self.known[place]
            if chance < 0.05:
                word = str(int(generator.integers(0, 2000)))
            elif chance < 0.2:
                word += ",.?!;:"[int(generator.integers(6))]
            words.append(word)
        return " ".join(words)
