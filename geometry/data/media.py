"""A picture or a sound: its encoded bytes or its file, identified by a digest of its content."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, TypeVar

from regap.errors import PairError, one_line
from regap.geometry.data.outside_files import Unreadable, bytes_of

MOST_BYTES = 512 * 2**20
"""Largest encoded picture or sound."""
BESIDE = b"\x00\x05\x16\x07"
"""How AppleDouble files begin, which macOS writes as ._NAME beside NAME on disks of other systems."""


@dataclass(frozen=True)
class Media(ABC):
    """An encoded picture or sound."""

    data: bytes | Path = field(repr=False)
    """The encoded bytes, or their file; a file is read each time and not kept in memory."""

    kind: ClassVar[str]
    """What it is called in messages: the column of a pairs file that names it."""
    measure: ClassVar[str]
    """The property that says how large it is."""

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of the bytes."""
        return hashlib.sha256(self.encoded()).hexdigest()

    def encoded(self) -> bytes:
        """Return the encoded bytes; raises PairError if their file cannot be read or has changed."""
        if isinstance(self.data, bytes):
            return self.data
        try:
            found = bytes_of(self.data, MOST_BYTES)
        except Unreadable as error:
            raise PairError(f"{self.kind} {shortened(self.data)}: {error}") from None
        known = self.__dict__.get("sha256")
        if known is not None and hashlib.sha256(found).hexdigest() != known:
            raise PairError(
                f"{self.kind} {shortened(self.data)}: it has changed since it was read; run again"
            )
        return found

    @abstractmethod
    def check(self, name: str) -> None:
        """Raise PairError, with this name, unless all of it can be decoded."""


Found = TypeVar("Found", bound=Media)


def read_media(kind: type[Found], path: Path) -> Found:
    """Return the picture or sound in a file; raises PairError if it cannot be read or is incomplete."""
    found = kind(path)
    whole = kind(found.encoded())
    if whole.encoded().startswith(BESIDE):
        raise PairError(
            f"{kind.kind} {shortened(path)}: it holds what macOS keeps beside a file, not the file itself; name the "
            "file without ._"
        )
    whole.check(shortened(path))
    for known in ("sha256", kind.measure):
        object.__setattr__(found, known, getattr(whole, known))
    return found


def shortened(path: object, most: int = 120) -> str:
    """Return a path as it is shown in messages: without the middle if it is long."""
    return one_line(path, most)
