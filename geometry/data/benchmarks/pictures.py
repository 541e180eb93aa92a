"""The pictures that a benchmark names: read from its folder and decoded once, or counted as missing."""

import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.entry import Message, Reference
from regap.geometry.data.pairs import Picture, Prompt


@dataclass
class Gallery:
    """The pictures of one benchmark's folder."""

    name: str
    """Name of the benchmark, for messages."""
    folder: Path
    asked: int = 0
    missing: list[str] = field(default_factory=list)
    """Names of the pictures that are not there."""
    unreadable: list[str] = field(default_factory=list)
    """Why each picture that is there cannot be used."""
    _known: dict[Path, Picture | None] = field(default_factory=dict)
    _archives: dict[Path, tarfile.TarFile] = field(default_factory=dict)

    def prompt(self, message: Message) -> Prompt | None:
        """Return the message with its pictures; None if any is missing or unreadable, and each of these is counted."""
        pictures = [self._picture(reference) for reference in message.images]
        found = tuple(picture for picture in pictures if picture)
        return Prompt(message.text, found, shown=message.shown) if len(found) == len(pictures) else None

    def complaint(self) -> str | None:
        """Return one line that counts and names the missing and unreadable pictures; None if there are none."""
        if not self.missing and not self.unreadable:
            return None
        parts = []
        if self.missing:
            named = ", ".join(self.missing[:3]) + (", ..." if len(self.missing) > 3 else "")
            parts.append(f"{len(self.missing)} of {self.asked} images are missing in {self.folder} ({named})")
        if self.unreadable:
            more = f", and {len(self.unreadable) - 1} more" if len(self.unreadable) > 1 else ""
            parts.append(f"{len(self.unreadable)} cannot be used ({self.unreadable[0]}{more})")
        return f"{self.name}: " + "; ".join(parts)

    def _picture(self, reference: Reference) -> Picture | None:
        if isinstance(reference, bytes):
            self.asked += 1
            return self._checked(Picture(reference), f"{self.asked} (embedded)")
        if reference not in self._known:
            self.asked += 1
            self._known[reference] = self._read(reference)
        return self._known[reference]

    def _read(self, reference: Path) -> Picture | None:
        path = inside(self.name, self.folder, reference)
        if not path.exists():
            packed = self._unpacked(path)
            if packed is None:
                self.missing.append(str(reference))
            return None if packed is None else self._checked(Picture(packed), str(reference))
        try:
            return Picture.read(path)
        except PairError as error:
            self.unreadable.append(str(error))
            return None

    def _checked(self, picture: Picture, name: str) -> Picture | None:
        try:
            picture.check(name)
        except PairError as error:
            self.unreadable.append(str(error))
            return None
        return picture

    def _unpacked(self, path: Path) -> bytes | None:
        """Return the picture from data.tar in its folder, which some benchmarks have; None if it is not there."""
        archive = path.parent / "data.tar"
        if not archive.is_file():
            return None
        if archive not in self._archives:
            try:
                self._archives[archive] = tarfile.open(archive)  # noqa: SIM115 - closed with the gallery
            except (tarfile.TarError, OSError):
                raise PairError(
                    f"{self.name}: {archive} is not a readable archive; download it again"
                ) from None
        try:
            member = self._archives[archive].extractfile(path.name)
        except (KeyError, tarfile.TarError, OSError):
            return None
        return member.read() if member else None

    def close(self) -> None:
        """Close the archives that were opened."""
        for archive in self._archives.values():
            archive.close()


def inside(name: str, folder: Path, reference: Path) -> Path:
    """Return the path of a picture; raises PairError if it is outside the folder, directly or through a link."""
    try:
        path = (folder / reference).resolve()
    except (RuntimeError, ValueError, OSError):  # circular links, or a NUL in the name
        raise PairError(f"{name}: image {str(reference)!r} is not a path; download the file again") from None
    if reference.is_absolute() or ".." in reference.parts or not path.is_relative_to(folder.resolve()):
        raise PairError(
            f"{name}: image {str(reference)[:100]!r} is outside {folder}; put the images inside that folder"
        )
    return path
