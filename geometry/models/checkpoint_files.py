"""The files of a checkpoint folder: whether they can be read, and a digest of all that a model is made from."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from regap.errors import ModelError, StoreError
from regap.geometry.files import SEAL, opened_json, sealed_json, write_whole

DIGESTS = "digests.json"
"""The file in a checkpoint folder that holds the SHA-256 of all others, if whoever wrote the folder left one."""
READ = (".json", ".jinja", ".safetensors", ".bin", ".txt", ".model", ".py")
"""Endings of the files that a model, its tokenizer and its template are read from; code is run only if allowed."""
POINTER = b"version https://git-lfs.github.com/"
"""How the text begins that Git leaves in place of a large file."""
LONGEST_HEADER = 100 * 2**20
"""Most bytes of the header of a weight file, as in safetensors."""


def check_files(folder: Path) -> None:
    """Raise ModelError unless every file of a checkpoint is whole and inside its folder; no weights are read.

    Refused are pipes and devices, pointers of Git LFS, weight files that were cut off, files of weights outside the
    folder, adapters, whose weights are those of another folder, and files that differ from the folder's digests.json.
    """
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"model {folder}: the folder holds an adapter (adapter_config.json), and the model's own weights may be "
            "elsewhere; merge the adapter into the model, save that, and name its folder"
        )
    for path in (*_everything_in(folder), *files_of(folder)):
        if not path.is_file():
            found = "is not a regular file" if path.exists() else "does not exist"
            raise ModelError(f"model {folder}: {_within(folder, path)} {found}; copy the checkpoint again")
    for path in files_of(folder):
        with path.open("rb") as file:
            start = file.read(len(POINTER))
        if start == POINTER:
            raise ModelError(
                f"model {folder}: {_within(folder, path)} is a pointer of Git LFS, not the file itself; "
                "run `git lfs pull` there, or download the checkpoint again"
            )
        if path.suffix == ".safetensors":
            _check_whole(folder, path)
    if (folder / DIGESTS).is_file() and SEAL in (folder / DIGESTS).read_bytes():  # not another library's file
        check_digests(folder)


def write_digests(folder: Path) -> None:
    """Write digests.json, with the SHA-256 of every file in the folder."""
    digests = {
        path.name: sha256_of(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != DIGESTS
    }
    write_whole(folder / DIGESTS, sealed_json({"files": digests}))


def check_digests(folder: Path) -> None:
    """Raise ModelError unless every file named in the folder's digests.json is there with that digest."""
    remedy = "delete the folder and make it again, or copy it again"
    try:
        digests = opened_json(folder / DIGESTS, remedy=remedy)["files"]
    except StoreError as error:
        raise ModelError(f"model {folder}: {error}") from None
    for name, digest in digests.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            raise ModelError(f"model {folder}: {name} differs from its digest in {DIGESTS}; {remedy}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_folder(folder: Path) -> str:
    """Return a digest of the configuration, tokenizer and weight files of a checkpoint, also those in subfolders."""
    digest = hashlib.sha256()
    for path in files_of(folder):
        digest.update(_within(folder, path).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


def files_of(folder: Path) -> list[Path]:
    """Return the files that a model is read from: those beside its configuration, and those that an index names.

    Raises ModelError for an index that names a file outside the folder.
    """
    beside = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in READ and path.name != DIGESTS and not path.is_dir()
    ]
    named = [
        place for path in beside if path.name.endswith(".index.json") for place in _named_in(folder, path)
    ]
    return list(dict.fromkeys([*beside, *sorted(named)]))


def _everything_in(folder: Path) -> Iterator[Path]:
    """Yield all files and pipes in the folder and its subfolders, but for hidden ones and links to nothing.

    Reading a pipe or a device could wait for ever.
    """
    for where, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        yield from (path for name in names if (path := Path(where, name)).exists())


def _named_in(folder: Path, index: Path) -> Iterator[Path]:
    """Yield the files that an index of weights names."""
    if not index.is_file():
        return
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
        places = {name: Path(name) for name in names}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelError(
            f"model {folder}: {index.name} does not say which file holds which weights; copy the checkpoint again"
        ) from None
    for name, place in places.items():
        if place.is_absolute() or ".." in place.parts:
            raise ModelError(
                f"model {folder}: {index.name} names weights outside the folder ({name!r}); put all weights inside it"
            )
        yield folder / place


def _check_whole(folder: Path, path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= LONGEST_HEADER else b""
    try:
        parts = {name: part for name, part in json.loads(header).items() if name != "__metadata__"}
        needed = 8 + length + max((part["data_offsets"][1] for part in parts.values()), default=0)
        whole = needed == size
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        whole = False
    if not whole:
        raise ModelError(
            f"model {folder}: {_within(folder, path)} is damaged or was cut off ({size} bytes); "
            "download or copy the checkpoint again"
        )


def _within(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
