"""A folder of results is written by one process at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from regap.errors import ConfigError
from regap.geometry.files import PARTIAL

LOCK = ".lock"
"""Name of the file that is locked; it stays, and holds the number of the last process that wrote."""


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Let no other process or thread write in this folder, and remove files that a killed one left half-written.

    The lock ends with the process, however it ends. Raises ConfigError if another process writes there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    lock = FileLock(path, timeout=0, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"out folder {folder} is being written by another process ({_writer(path)}); wait until it ends, stop "
            "it, or name another folder"
        ) from None
    try:
        path.write_text(str(os.getpid()))
        for left in folder.rglob(f".*{PARTIAL}"):
            left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def _writer(path: Path) -> str:
    number = path.read_text()
    return f"process {number}" if number.isdecimal() else "its number is not known"
