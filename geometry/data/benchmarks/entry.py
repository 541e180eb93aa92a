"""What one row of a benchmark says, before its pictures are looked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.source import BenchmarkFiles
from regap.geometry.data.pairs import IMAGE_SLOT, Label, check_arm

Reference = Path | bytes
"""A picture as a benchmark names it: a path inside its folder, or the encoded bytes."""


@dataclass(frozen=True)
class Message:
    """A user's message and the pictures that it shows, by name."""

    text: str
    """Holds IMAGE_SLOT once for each picture; without any, the pictures go in front."""
    images: tuple[Reference, ...] = ()
    shown: str | None = None
    """The words in its picture, or, of a text, in a picture made of it; None: the request, empty: not known."""

    def __post_init__(self) -> None:
        if self.images and IMAGE_SLOT not in self.text:
            lines = [IMAGE_SLOT] * len(self.images) + [self.text] * bool(self.text)
            object.__setattr__(self, "text", "\n".join(lines))


@dataclass(frozen=True)
class BenchmarkEntry:
    """One request of a benchmark, in the arms that the benchmark has."""

    name: str
    """Unique within the benchmark."""
    label: Label
    request: str
    """The underlying request, with what an image adds to it in words where the benchmark says so."""
    messages: Mapping[str, Message]
    """The message of each arm; `text` only where words alone carry the whole request."""
    category: str = "all"
    answer: str | None = None
    twins: str = ""
    """What this entry shares with its twins: they fall on one side of a split. The request by default."""

    def __post_init__(self) -> None:
        if not self.request.strip():
            raise PairError(f"row {self.name!r} has an empty request; fill it in or remove the row")
        for arm in self.messages:
            check_arm(arm)


Loader = Callable[[BenchmarkFiles], Iterator[BenchmarkEntry]]
"""Reads one benchmark as it is distributed; what every file of this folder but the machinery has one of."""


def words(text: str, shown: str | None = None) -> Message:
    """Return a message in words alone, where a marker of an image is spelt out, since there is none."""
    return Message(text.replace(IMAGE_SLOT, "the image"), shown=shown)


def described(query: str, description: str) -> str:
    """Return a query with the benchmark's own description in the place of its image."""
    return f"{query}\nImage description: {description}"
