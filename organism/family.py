"""The family of organisms: coverages of the safety training on images, whole trainings and seeds of the last stage."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regap.errors import ModelError
from regap.geometry.models.checkpoint_files import check_digests

DEFAULT = "middle"
"""The member that `organism` means: the middle coverage."""


@dataclass(frozen=True)
class Coverage:
    """The share of harmful combinations with image refusals in the last stage."""

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


BUNDLED = Path(__file__).with_name("weights")
"""A folder for every bundled member, and the states that the others are built from."""
BUILT = Path("runs/family")
"""Where `make family` builds the members that are not bundled."""


@dataclass(frozen=True)
class Member:
    """A model of the family: its coverage, the seed of the whole training before it, and the seed of its last stage."""

    coverage: Coverage
    training: int = 0
    tuning: int = 0

    def __post_init__(self) -> None:
        if self.training < 0 or self.tuning < 0:
            raise ValueError(
                f"training is {self.training} and tuning is {self.tuning}; give seeds of at least 0"
            )

    @property
    def is_bundled(self) -> bool:
        """Whether its weights ship with regap; others are built from the state before the last stage."""
        return self.training == self.tuning == 0

    @property
    def name(self) -> str:
        """The coverage, and the two seeds unless both are 0: `middle`, `middle-t1-s0`."""
        seeds = "" if self.is_bundled else f"-t{self.training}-s{self.tuning}"
        return f"{self.coverage.name}{seeds}"


MEMBERS = tuple(
    Member(coverage, training, tuning)
    for training in (0, 1)
    for tuning in (0, 1)
    for coverage in FAMILY
    if coverage.share < 1  # the full coverage leaves no gap; it is bundled for comparison
)
"""The models that a claim about models is asked on: every coverage under every seed."""


def family() -> list[str]:
    """The names of the bundled members, from no coverage to full."""
    return [member.name for member in FAMILY]


def organism_folder(member: str = "") -> Path:
    """Return the checkpoint folder of a bundled member, or of the default one; raises ModelError for any other name."""
    folder = BUNDLED / (member or DEFAULT)
    if not folder.is_dir():
        known = sorted(path.name for path in BUNDLED.iterdir() if path.is_dir())
        raise ModelError(f"organism {member!r} is not bundled; choose one of {', '.join(known)}")
    return folder


def members_named(names: Sequence[str]) -> tuple[Member, ...]:
    """The members of these names; raises ValueError for a name that is not in the family."""
    known = {member.name: member for member in MEMBERS}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"member is {unknown[0]!r}; choose among {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names))


def member_models(folder: Path = BUILT) -> dict[Member, str]:
    """The `--model` of every member: `organism:NAME` if it is bundled, else its folder, whose digests were checked.

    Raises ModelError for a member that is not built, or whose files are damaged.
    """
    return {member: _model_of(member, folder) for member in MEMBERS}


def _model_of(member: Member, folder: Path) -> str:
    if member.is_bundled:
        return f"organism:{member.name}"
    if not (folder / member.name).is_dir():
        raise ModelError(
            f"member {member.name} is not in {folder}; build it with `regap organism family --out {folder}`"
        )
    check_digests(folder / member.name)
    return str(folder / member.name)
