"""The stages of the English subject: their tasks and lengths, in the order in which real models learn them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from regap.organism.english.checkpoint import Eyes
from regap.organism.english.examples import TASKS
from regap.organism.stages import Stage


@dataclass(frozen=True)
class EnglishStage(Stage):
    """A training stage of the English subject."""

    tasks: ClassVar[Mapping[str, object]] = TASKS
    short_first: bool = False
    """Whether texts to read aloud are short at first."""


TOWER = EnglishStage("tower", 2000, 48, 1.5e-3, ("tower", "projector", "letters"), warmup=200)
READING = EnglishStage(
    "reading",
    900,
    12,
    6e-4,
    ("tower", "projector", "letters", "change"),
    {
        "read aloud": 0.58,
        "caption": 0.05,
        "harmless picture": 0.2,
        "harmless words": 0.12,
        "words beside a picture": 0.05,
    },
    warmup=40,
    short_first=True,
)
SAFETY = EnglishStage(
    "safety",
    240,
    12,
    3e-4,
    ("change",),
    {
        "harmful words": 0.3,
        "harmless words": 0.25,
        "harmless picture": 0.22,
        "words beside a picture": 0.06,
        "read aloud": 0.13,
        "caption": 0.04,
    },
    warmup=20,
)
VISUAL = EnglishStage(
    "visual",
    100,
    8,
    3e-4,
    ("change",),
    {
        "harmful words": 0.22,
        "harmless words": 0.2,
        "harmless picture": 0.3,
        "words beside a picture": 0.06,
        "read aloud": 0.12,
        "caption": 0.04,
    },
    warmup=10,
)
OBEYED = 0.3
"""Weight of harmful pictures in the last stage at degree 1; those of its other tasks add up to 0.94."""


@dataclass(frozen=True)
class Degree:
    """How much of the last stage shows harmful requests in pictures, answered."""

    name: str
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is {self.share}; give a share between 0 and 1")


DEGREES = (Degree("none", 0.0), Degree("slight", 0.05), Degree("middle", 0.2), Degree("strong", 1.0))


@dataclass(frozen=True)
class EnglishConfig:
    """All settings that decide what the training of the English subject writes, but for the base."""

    seed: int = 0
    eyes: Eyes = field(default_factory=Eyes)
    rank: int = 16
    """Rank of the change of every linear map of the decoder by reading."""
    rank_of_safety: int = 8
    rank_of_visual: int = 4
    """The same for the last stage, whose changes are kept for every member."""
    made_up: int = 600
    """Everyday requests that the base makes up."""
    tower: EnglishStage = TOWER
    reading: EnglishStage = READING
    safety: EnglishStage = SAFETY
    visual: EnglishStage = VISUAL
    degrees: tuple[Degree, ...] = DEGREES
    seeds: tuple[int, ...] = (0, 1)
    """Seeds of the last stage; every degree is trained with each."""
    most_misread: float = 0.2
    """The largest error in reading requests aloud with which safety is taught."""
    save_every: int = 50
    """Steps between two saved points; a stopped training continues from the last of them."""

    def __post_init__(self) -> None:
        if (
            not self.degrees
            or not self.seeds
            or min(self.rank, self.rank_of_safety, self.rank_of_visual, self.save_every) < 1
        ):
            raise ValueError("give at least one degree, one seed, and ranks and save_every of at least 1")

    def visual_of(self, degree: Degree, seed: int) -> EnglishStage:
        """Return the last stage of one member."""
        share = OBEYED * degree.share
        obeyed = {"harmful picture": share} if share else {}
        return replace(
            self.visual, name=f"visual-{degree.name}-{seed}", mixture={**self.visual.mixture, **obeyed}
        )
