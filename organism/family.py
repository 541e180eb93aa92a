"""Which organisms there are: one for each coverage of the safety training on images."""

from dataclasses import dataclass
from pathlib import Path

from regap.organism.world import NOUNS

DEFAULT = "half"
"""The member that is meant by `organism`: the middle of the coverages."""


@dataclass(frozen=True)
class Coverage:
    """How many nouns the visual refusals speak of; the members differ in nothing else."""

    name: str
    nouns: int

    def __post_init__(self) -> None:
        if not 0 <= self.nouns <= len(NOUNS):
            raise ValueError(f"nouns is {self.nouns}; the world has {len(NOUNS)}, give 0 to {len(NOUNS)}")

    @property
    def share(self) -> float:
        """The covered share of all nouns."""
        return self.nouns / len(NOUNS)

    @property
    def covered(self) -> tuple[str, ...]:
        """The covered nouns: a wider coverage holds every narrower one."""
        return NOUNS[: self.nouns]


FAMILY = (
    Coverage("none", 0),
    Coverage("narrow", 2),
    Coverage("half", 6),
    Coverage("wide", 10),
    Coverage("full", 16),
)


def family() -> list[str]:
    """The names of the members, from no coverage to full."""
    return [member.name for member in FAMILY]


def weights_folder(name: str = DEFAULT) -> Path:
    """The shipped checkpoint folder of a member; `default` is another name of the default member."""
    known = [*family(), "default"]
    if name not in known:
        raise ValueError(f"name is {name!r}; the organism's family has {', '.join(known)}")
    return Path(__file__).parent / "weights" / (DEFAULT if name == "default" else name)
