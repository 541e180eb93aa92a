"""The models that regap brings itself besides the bundled organism, by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from types import MappingProxyType

ENGLISH = "english"
FOLDERS: Mapping[str, str] = MappingProxyType({ENGLISH: "regap.organism.english.assembly:english_folder"})
"""For each name, the function that returns the checkpoint folder of a member, the default one for ""."""


def subject_folder(name: str, member: str) -> Path | None:
    """Return the checkpoint folder of a subject's member; None if regap brings no subject of this name."""
    if name not in FOLDERS:
        return None
    folder_of: Callable[[str], Path] = resolve_name(FOLDERS[name])
    return folder_of(member)


def is_english(source: str) -> bool:
    """Whether a model's source names the English subject or a member of it."""
    return source.partition(":")[0] == ENGLISH
