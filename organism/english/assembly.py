"""The English subject put together from its base, its eyes and its changes, as an ordinary checkpoint."""

import hashlib
import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from regap.errors import ModelError
from regap.geometry.models.checkpoint_files import check_digests, sha256_of
from regap.organism.english.base import Base, cache, find_base, written_once
from regap.organism.english.change import Change
from regap.organism.english.checkpoint import (
    StoredEyes,
    build_model,
    build_processor,
    check_image_token,
    save_checkpoint,
)

EYES, READING, SAFETY = "eyes.safetensors", "reading.safetensors", "safety.safetensors"
"""Tower and projector; and the changes of the decoder by the stages of reading and of safety."""
BASE = "base"
FORMAT = 1
"""Rises whenever template, processor or settings of an assembled checkpoint change, so that older ones are not used."""
PACKAGE = "regap_english"
"""What the wheel of the weights installs; in a clone they are beside this file."""
DEFAULT = "middle-0"
"""The member that `english` means. It was chosen before any correction was tried on it."""


@dataclass(frozen=True)
class Parts:
    """A folder with eyes, the changes by reading and by safety, and a change for each member."""

    folder: Path

    def members(self) -> tuple[str, ...]:
        """Return the names of all members, in alphabetical order."""
        found = {path.name for path in self.folder.glob("*.safetensors")} - {EYES, READING, SAFETY}
        return tuple(sorted(name.removesuffix(".safetensors") for name in found))

    def files(self, member: str) -> tuple[Path, ...]:
        """Return the files that a member is made from, eyes first; raises ModelError if it is none of the members."""
        if member not in self.members():
            raise ModelError(
                f"english:{member} is not among the members; choose one of {', '.join(self.members()) or 'none'}"
            )
        return tuple(self.folder / name for name in (EYES, READING, SAFETY, f"{member}.safetensors"))

    def check(self, member: str) -> None:
        """Raise StoreError or ModelError unless every file of a member is whole."""
        eyes, *changes = self.files(member)
        StoredEyes.read(eyes)
        for change in changes:
            Change.read(change)

    def digest(self, member: str) -> str:
        """Return a digest of the files that a member is made from."""
        found = [sha256_of(file) for file in self.files(member)]
        return hashlib.sha256("".join(found).encode()).hexdigest()


def assemble(base: Base, parts: Parts, member: str, out: Path) -> None:
    """Write the checkpoint of a member to the folder `out`, which appears once it is complete.

    A base with other weights than the parts were trained on is used with a note, since the member is then another
    model. Raises ModelError for an unknown member, or a base of other sizes; StoreError for a damaged part.
    """
    eyes, *changes = parts.files(member)
    stored = StoredEyes.read(eyes)
    if stored.base != base.digest():
        logging.getLogger(__name__).warning(
            "base %s has other weights than the English subject was trained on: its figures hold for another model",
            base.folder,
        )
    model = build_model(stored.sizes, base.model(), seed=0)
    processor = build_processor(stored.sizes, base.tokenizer())
    check_image_token(model, processor)
    stored.give_to(model)
    for change in changes:
        Change.read(change).add_to(model.model.language_model)
    with written_once(out) as unfinished:
        save_checkpoint(model, processor, unfinished)


def shipped_parts() -> Parts:
    """Return the parts that the project ships: those of the clone, or of the package regap-english.

    Raises ModelError if neither is there.
    """
    beside = Path(__file__).with_name("weights")
    found = find_spec(PACKAGE)
    for folder in (beside, *map(Path, (found and found.submodule_search_locations) or ())):
        if (folder / EYES).is_file():
            return Parts(folder)
    raise ModelError(
        "the eyes and changes of the English subject are not here; train them with `regap organism train --subject "
        "english --out FOLDER`, and name the folder of a member in it"
    )


def english_folder(member: str = "") -> Path:
    """Return the checkpoint folder of a member, or of the default one, in the user's cache; it is written once.

    The member `base` is the language model alone, which nobody here trained; it takes text only.
    Raises ModelError if there is no such member, if the base is missing, or if the cached files are damaged.
    """
    if member == BASE:
        return find_base().folder
    parts, name = shipped_parts(), member or DEFAULT
    folder = cache() / f"{name}-{parts.digest(name)[:12]}-{FORMAT}"
    if not folder.is_dir():
        assemble(find_base(), parts, name, folder)
    check_digests(folder)
    return folder
