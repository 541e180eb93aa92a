"""The family of organisms: one member for each coverage of the safety training on images."""

import hashlib
from dataclasses import dataclass

DEFAULT = "middle"
"""The member that `organism` means: the middle coverage."""


@dataclass(frozen=True)
class Coverage:
    """The share of harmful combinations with image refusals in the last stage; members differ only in this."""

    name: str
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is {self.share}; give a share between 0 and 1")

    def covers(self, combination: str) -> bool:
        """Whether a combination is covered, by a stable hash: a wider coverage contains every narrower one."""
        digest = hashlib.sha256(f"coverage|{combination}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.share * 2**64


FAMILY = (
    Coverage("none", 0.0),
    Coverage("narrow", 0.02),
    Coverage("middle", 0.025),
    Coverage("wide", 0.1),
    Coverage("full", 1.0),
)


def family() -> list[str]:
    """The names of the members, from no coverage to full."""
    return [member.name for member in FAMILY]
