"""The pictures and sounds that a benchmark names: read from its folder and decoded once, or counted as missing."""

import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.entry import Message, Reference
from regap.geometry.data.media import Found, Media, read_media, shortened
from regap.geometry.data.pairs import Picture, Prompt, Sound


@dataclass
class Gallery:
    """The pictures and sounds of one benchmark's folder."""

    name: str
    """Name of the benchmark, for messages."""
    folder: Path
    asked: int = 0
    missing: list[str] = field(default_factory=list)
    """Names of the pictures and sounds that are not there."""
    unreadable: list[str] = field(default_factory=list)
    """Why each picture or sound that is there cannot be used."""
    _known: dict[Path, Media | None] = field(default_factory=dict)
    _archives: dict[Path, tarfile.TarFile] = field(default_factory=dict)

    def prompt(self, message: Message) -> Prompt | None:
        """Return the message with its pictures and sounds; None if any of these cannot be used, and each is counted."""
        pictures = [self._media(Picture, reference) for reference in message.images]
        sounds = [self._media(Sound, reference) for reference in message.sounds]
        if None in (*pictures, *sounds):
            return None
        return Prompt(message.text, tuple(pictures), shown=message.shown, sounds=tuple(sounds))  # type: ignore[arg-type]

    def complaint(self) -> str | None:
        """Return one line that counts and names the missing and unreadable files; None if there are none."""
        if not self.missing and not self.unreadable:
            return None
        parts = []
        if self.missing:
            named = ", ".join(self.missing[:3]) + (", ..." if len(self.missing) > 3 else "")
            parts.append(f"{len(self.missing)} of {self.asked} files are missing in {self.folder} ({named})")
        if self.unreadable:
            more = f", and {len(self.unreadable) - 1} more" if len(self.unreadable) > 1 else ""
            parts.append(f"{len(self.unreadable)} cannot be used ({self.unreadable[0]}{more})")
        return f"{self.name}: " + "; ".join(parts)

    def _media(self, kind: type[Found], reference: Reference) -> Found | None:
        if isinstance(reference, bytes):
            self.asked += 1
            return self._checked(kind(reference), f"{self.asked} (embedded)")
        if reference not in self._known:
            self.asked += 1
            self._known[reference] = self._read(kind, reference)
        return self._known[reference]  # type: ignore[return-value] - a path is of one kind

    def _read(self, kind: type[Found], reference: Path) -> Found | None:
        path = inside(self.name, self.folder, reference)
        if not path.exists():
            packed = self._unpacked(path)
            if packed is None:
                self.missing.append(str(reference))
            return None if packed is None else self._checked(kind(packed), str(reference))
        try:
            return read_media(kind, path)
        except PairError as error:
            self.unreadable.append(str(error))
            return None

    def _checked(self, found: Found, name: str) -> Found | None:
        try:
            found.check(name)
        except PairError as error:
            self.unreadable.append(str(error))
            return None
        return found

    def _unpacked(self, path: Path) -> bytes | None:
        """Return the file from data.tar in its folder, which some benchmarks have; None if it is not there."""
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
    """Return the path of a file; raises PairError if it is outside the folder, directly or through a link."""
    try:
        path = (folder / reference).resolve()
        path.exists()
    except (
        RuntimeError,
        ValueError,
        OSError,
    ):  # circular links, a NUL in the name, or a name that is too long
        raise PairError(f"{name}: {shortened(reference)!r} is not a path; download the file again") from None
    if reference.is_absolute() or ".." in reference.parts or not path.is_relative_to(folder.resolve()):
        raise PairError(
            f"{name}: {str(reference)[:100]!r} is outside {folder}; put the file inside that folder"
        )
    return path
