"""The models that regap brings itself, by name: the bundled organism and the English subject."""

from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from types import MappingProxyType

ENGLISH = "english"
FOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "organism": "regap.organism.family:organism_folder",
        ENGLISH: "regap.organism.english.assembly:english_folder",
    }
)
"""For each name, the function that returns the checkpoint folder of a member, or of the default one for ""."""


def subject_folder(source: str) -> Path | None:
    """Return the checkpoint folder of NAME or NAME:MEMBER; None if regap brings no model of this name.

    Raises ModelError for a member that there is not.
    """
    name, _, member = source.partition(":")
    if name not in FOLDERS:
        return None
    folder_of: Callable[[str], Path] = resolve_name(FOLDERS[name])
    return folder_of(member)


def is_english(source: str) -> bool:
    """Whether a model's source names the English subject or a member of it."""
    return source.partition(":")[0] == ENGLISH
