"""One row of a benchmark, before its pictures and sounds are read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.source import BenchmarkFiles
from regap.geometry.data.pairs import IMAGE_SLOT, SOUND_SLOT, Label, check_arm

Reference = Path | bytes
"""A picture or a sound as a benchmark names it: a path inside its folder, or the encoded bytes."""


@dataclass(frozen=True)
class Message:
    """A user's message, and the pictures and sounds in it, by name."""

    text: str
    """Contains IMAGE_SLOT once for each picture and SOUND_SLOT for each sound; without them, these come first."""
    images: tuple[Reference, ...] = ()
    shown: str | None = None
    """The words in its picture or sound; for a text, in one made of it. None: the request; empty: not known."""
    sounds: tuple[Reference, ...] = ()

    def __post_init__(self) -> None:
        for slot, media in ((SOUND_SLOT, self.sounds), (IMAGE_SLOT, self.images)):
            if media and slot not in self.text:
                lines = [slot] * len(media) + [self.text] * bool(self.text)
                object.__setattr__(self, "text", "\n".join(lines))


@dataclass(frozen=True)
class BenchmarkEntry:
    """One request of a benchmark, in each of the benchmark's arms."""

    name: str
    """Unique within the benchmark."""
    label: Label
    request: str
    """The full request in words, with the benchmark's description of the image if there is one."""
    messages: Mapping[str, Message]
    """The message of each arm; there is a `text` arm only if text without an image carries the whole request."""
    category: str = "all"
    answer: str | None = None
    twins: str = ""
    """A name that this entry shares with its twins, so that all are in the same split; by default the request."""

    def __post_init__(self) -> None:
        if not self.request.strip():
            raise PairError(f"row {self.name!r} has an empty request; fill it in or remove the row")
        for arm in self.messages:
            check_arm(arm)


Loader = Callable[[BenchmarkFiles], Iterator[BenchmarkEntry]]
"""A function that reads the entries of one benchmark from its files as they are distributed."""


def words(text: str, shown: str | None = None) -> Message:
    """Return a message without pictures; an image marker in the text is replaced by "the image"."""
    return Message(text.replace(IMAGE_SLOT, "the image"), shown=shown)


def described(query: str, description: str) -> str:
    """Return a query followed by the benchmark's own description of its image."""
    return f"{query}\nImage description: {description}"
