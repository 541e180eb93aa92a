"""The training stages of the organism: their tasks and lengths."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from regap.organism.checkpoint import Architecture
from regap.organism.examples import TASKS
from regap.organism.family import FAMILY, Coverage

Part = Literal["tower", "projector", "decoder", "letters", "change"]


@dataclass(frozen=True)
class Stage:
    """One training stage, with a constant mixture of tasks."""

    name: str
    steps: int
    batch: int
    learning_rate: float
    """The peak, reached after `warmup` steps, then lowered to a twentieth along a cosine."""
    trained: tuple[Part, ...]
    mixture: Mapping[str, float] = field(default_factory=dict)
    """The share of each task; empty for the vision stage, which trains word recognition."""
    warmup: int = 50
    enough: float = 0.0
    """The stage ends before its last step once the recent loss is below this."""
    tasks: ClassVar[Mapping[str, object]] = TASKS
    """What a mixture may hold."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError(
                f"stage {self.name!r} has {self.steps} steps of {self.batch}; both must be at least 1"
            )
        if unknown := set(self.mixture) - set(self.tasks):
            raise ValueError(
                f"stage {self.name!r} names the tasks {sorted(unknown)}; known are {sorted(self.tasks)}"
            )


VISION = Stage("vision", 2000, 64, 1.5e-3, ("tower",), warmup=100, enough=0.5)
TEXT = Stage(
    "text",
    2400,
    48,
    2e-3,
    ("decoder",),
    {
        "text harmless": 0.3,
        "text harmful": 0.28,
        "text reading": 0.12,
        "text nature": 0.18,
        "word nature": 0.12,
    },
    warmup=100,
    enough=0.002,
)
ALIGN = Stage(
    "align",
    1500,
    24,
    1e-3,
    ("tower", "projector"),
    {"image reading": 0.7, "icon reading": 0.3},
    enough=0.01,
)
VISUAL = Stage(
    "visual",
    250,
    24,
    7e-4,
    ("tower", "projector"),
    {
        "image reading": 0.3,
        "icon reading": 0.1,
        "image nature": 0.1,
        "image harmless": 0.42,
        "icon harmless": 0.18,
    },
)
JOINT = Stage(
    "joint",
    600,
    24,
    7e-4,
    ("tower", "projector", "decoder"),
    {
        "text harmless": 0.14,
        "text harmful": 0.14,
        "text nature": 0.04,
        "image reading": 0.06,
        "icon reading": 0.04,
        "image nature": 0.12,
        "image harmless": 0.34,
        "icon harmless": 0.14,
        "text beside nothing": 0.1,
    },
)
_CARE: Mapping[str, float] = {
    "text harmless": 0.14,
    "text harmful": 0.14,
    "image reading": 0.04,
    "image nature": 0.04,
    "image harmless": 0.36,
    "icon harmless": 0.18,
    "text beside nothing": 0.08,
}
"""Refusals as text and help with images: the tasks that the last stages share."""
SAFETY = Stage(
    "safety",
    600,
    24,
    7e-4,
    ("projector", "decoder"),
    {**_CARE, "image harmful": 0.245, "icon harmful": 0.105},
    warmup=20,
)
TUNING = Stage("tuning", 200, 24, 5e-4, ("projector", "decoder"), _CARE, warmup=10)
VISUAL_REFUSALS = 0.1
"""Weight of image refusals added to the tuning mixture at full coverage; proportional for lower coverages."""


@dataclass(frozen=True)
class TrainingConfig:
    """All settings that decide what `train` writes."""

    seed: int = 0
    architecture: Architecture = field(default_factory=Architecture)
    vision: Stage = VISION
    text: Stage = TEXT
    align: Stage = ALIGN
    visual: Stage = VISUAL
    joint: Stage = JOINT
    safety: Stage = SAFETY
    tuning: Stage = TUNING
    visual_refusals: float = VISUAL_REFUSALS
    family: tuple[Coverage, ...] = FAMILY
    save_every: int = 100
    """Steps between two saved points; a stopped training continues from the last of them."""

    def __post_init__(self) -> None:
        if not self.family or self.save_every < 1:
            raise ValueError(
                f"family has {len(self.family)} members and save_every is {self.save_every}; give at least 1"
            )

    def tuning_of(self, member: Coverage) -> Stage:
        """The last stage of one member: only covered image refusals, in proportion to its coverage."""
        weight = self.visual_refusals * member.share
        refusals = {"image harmful": 0.7 * weight, "icon harmful": 0.3 * weight} if weight else {}
        return replace(self.tuning, name=f"tuning-{member.name}", mixture={**self.tuning.mixture, **refusals})
