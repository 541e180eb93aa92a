"""Files that are written whole or not at all, with a digest that is checked when they are read."""

import errno
import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from regap.errors import StoreError

SEAL = b"regap-sha256:"
"""Stands before the digest of a file, inside it."""
OPEN_SEAL = SEAL + b"0" * 64
"""Stands in the content until the digest takes its place; the digest is that of the content with this in it."""
PARQUET = b"PAR1"
"""How parquet files begin; they keep what is said of them at their end."""
PARTIAL = ".partial"
"""Ending of files that are being written."""
_CHECKED: set[tuple[str, int, int]] = set()
"""Path, size and time of the files whose digest has been checked."""


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file in one step and return its path; a reader sees the old content or the new, never a part.

    The bytes are on the disk before the file gets its name. Raises StoreError, with a remedy, if the disk is full or
    the folder cannot be written to.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"no space left for {path.name} in {path.parent}; free some and run the same command again: "
                "finished parts are kept"
            ) from None
        remedy = "choose another output folder"
        if error.errno == errno.EFBIG:
            remedy = f"raise the largest size of a file (ulimit -f), or {remedy}"
        raise StoreError(f"cannot write {path}: {error.strerror}; {remedy}") from None
    finally:
        with suppress(OSError):  # gone already when all went well
            partial.unlink()
    return path


def sealed(content: bytes, of: str = "") -> bytes:
    """Return the content with its digest in place of its open seal.

    of: what the content answers to, such as the key under which it is stored; the digest covers it too.
    """
    at = _seal_in(content)
    if at is None or not content.startswith(OPEN_SEAL, at):
        raise ValueError("the content has no open seal")
    return content[: at + len(SEAL)] + _digest(content, at, of) + content[at + len(OPEN_SEAL) :]


def is_whole(content: "bytes | mmap", of: str = "") -> bool:
    """True if the content carries its own digest, for what it answers to."""
    at = _seal_in(content)
    return at is not None and content[at + len(SEAL) : at + len(OPEN_SEAL)] == _digest(content, at, of)


def check_whole(path: Path, of: str = "", remedy: str = "make it again") -> None:
    """Raise StoreError unless the file carries its own digest; a file that did not change is not read again."""
    version = _version(path, of)
    if version in _CHECKED:
        return
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            whole = is_whole(content, of)
    except (OSError, ValueError):  # mmap takes no empty file
        whole = False
    if not whole:
        told = "is damaged: its digest does not match its content" if path.is_file() else "is missing"
        raise StoreError(f"{path} {told}; {remedy}")
    if version:
        _CHECKED.add(version)


def note_damaged(path: Path) -> None:
    """Warn that a stored file is damaged and is computed again; silent if there is no such file."""
    if path.is_file():
        warnings.warn(f"{path} is damaged; it is computed again", stacklevel=2)


def _version(path: Path, of: str) -> tuple[str, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return f"{path.absolute()}\0{of}", status.st_size, status.st_mtime_ns


def sealed_json(value: Mapping[str, Any], of: str = "", indent: int | None = 2) -> bytes:
    """Return a JSON object with its digest under the first key, `digest`, in place of one that it had.

    Raises ValueError for NaN and infinities.
    """
    told = {"digest": OPEN_SEAL.decode()} | {name: each for name, each in value.items() if name != "digest"}
    return sealed((json.dumps(told, indent=indent, allow_nan=False) + "\n").encode(), of)


def opened_json(path: Path, of: str = "", remedy: str = "make it again") -> dict[str, Any]:
    """Return the object of `sealed_json` in a file; raises StoreError, with the remedy, if it is missing or damaged."""
    try:
        content = path.read_bytes()
        found = json.loads(content) if is_whole(content, of) else None
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        told = "is damaged: its digest does not match its content" if path.is_file() else "is missing"
        raise StoreError(f"{path} {told}; {remedy}")
    return {name: value for name, value in found.items() if name != "digest"}


def _seal_in(content: "bytes | mmap") -> int | None:
    """Return where the seal begins: the last one of a parquet file, else the first one; values are never before it."""
    at = content.rfind(SEAL) if content[:4] == PARQUET else content.find(SEAL)
    return at if at >= 0 and at + len(OPEN_SEAL) <= len(content) else None


def _digest(content: "bytes | mmap", at: int, of: str) -> bytes:
    digest = hashlib.sha256(f"{len(of)}:{of}".encode())
    with memoryview(content) as seen:
        digest.update(seen[:at])
        digest.update(OPEN_SEAL)
        digest.update(seen[at + len(OPEN_SEAL) :])
    return digest.hexdigest().encode()
