"""Write files whole or not at all."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from regap.errors import StoreError


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file in one step and return its path; a reader sees the old content or the new, never a part.

    The bytes are on the disk before the file gets its name. Raises StoreError, with a remedy, if the disk is full or
    the folder cannot be written to.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
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
        raise StoreError(f"cannot write {path}: {error.strerror}; choose another output folder") from None
    finally:
        with suppress(OSError):  # gone already when all went well
            partial.unlink()
    return path
