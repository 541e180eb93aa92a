"""Files that others wrote: their bytes and their text, or in words why they cannot be read."""

import codecs
import json
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 4 * 2**30
"""Largest file that is read into memory."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Unreadable(ValueError):
    """Why a file cannot be read, and the remedy; whoever asked for the file adds its name."""


class Written(str):
    """A number of a JSON file, with its digits as they are written."""


def check_regular(path: Path, most: int = MOST_BYTES) -> None:
    """Raise Unreadable unless this is a file of at most `most` bytes: a folder, a pipe or a device is refused."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise Unreadable(f"{getattr(error, 'strerror', None) or 'not a path'}; check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise Unreadable("Is a directory; check the path")
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("it is a pipe or a device, not a file; name a file")
    if status.st_size > most:
        raise Unreadable(
            f"it has {status.st_size:,} bytes, and at most {most:,} are read; divide it into smaller files"
        )


def bytes_of(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the bytes of a file; raises Unreadable for what is missing, too large, or no file."""
    check_regular(path, most)
    try:
        with path.open("rb") as file:
            found = file.read(most + 1)
    except OSError as error:
        raise Unreadable(f"{error.strerror or error}; check the path") from None
    if len(found) > most:  # it grows while it is read, or states no size
        raise Unreadable(f"it has more than {most:,} bytes; divide it into smaller files")
    return found


def marked_text(data: bytes) -> str | None:
    """Return the text if a byte order mark says its encoding, else None; raises UnicodeDecodeError."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    return None


def text_of(data: bytes) -> str:
    """Return the text in UTF-8, or in the encoding that a byte order mark says; raises Unreadable for any other."""
    try:
        marked = marked_text(data)
        if marked is not None:
            return marked
        if b"\0\0" in (data[:4:2], data[1:4:2]):
            raise Unreadable("its encoding looks like UTF-16 without a byte order mark; save it as UTF-8")
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(
            f"line {line} is not in {error.encoding.upper()} (byte 0x{data[error.start]:02x}); it may be in "
            "Windows-1252 or another encoding: save it as UTF-8"
        ) from None


def json_of(text: str) -> Any:
    """Return a JSON value, numbers as they are written; raises Unreadable if it is not JSON or repeats a name.

    NaN, which some programs write for a missing value, becomes None.
    """
    try:
        return json.loads(
            text,
            parse_int=Written,
            parse_float=Written,
            parse_constant=_constant,
            object_pairs_hook=_each_once,
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise Unreadable(f"{error.msg}, {place}column {error.colno}") from None
    except RecursionError:
        raise Unreadable("lists or objects are nested too deeply") from None


def _constant(name: str) -> None:
    if name != "NaN":
        raise Unreadable(f"{name} is no value of JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise Unreadable(f"the name {twice[:60]!r} occurs twice")
    return found
