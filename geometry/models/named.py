"""Models that are named, not found by a path: the bundled organism's members, and the other subjects of regap."""

from pathlib import Path

from regap.errors import ModelError
from regap.subjects import subject_folder

ORGANISM = "organism"
_WEIGHTS = Path(__file__).resolve().parents[2] / "organism" / "weights"


def named_folder(source: str) -> Path | None:
    """Return the checkpoint folder of NAME or NAME:MEMBER; None if no model has that name.

    Raises ModelError for a member that there is not.
    """
    name, _, member = source.partition(":")
    return organism_folder(member) if name == ORGANISM else subject_folder(name, member)


def organism_folder(member: str = "") -> Path:
    """Return the folder of a bundled organism; the default one if no member is named."""
    if not member:
        member = (_WEIGHTS / "default.txt").read_text().strip()
    folder = _WEIGHTS / member
    if not folder.is_dir():
        known = sorted(path.name for path in _WEIGHTS.iterdir() if path.is_dir())
        raise ModelError(f"organism {member!r} is not bundled; choose one of {', '.join(known)}")
    return folder
