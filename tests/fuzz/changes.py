"""Readers of outside files, and the changed files that they are given."""

import json
import os
import random
import signal
import tempfile
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count as counted
from pathlib import Path
from typing import Any

from regap.analyses.judges.endpoint_judge import EndpointError
from regap.errors import ConfigError, ModelError, PackError, PairError, StoreError

OURS = (ConfigError, ModelError, PackError, PairError, StoreError, EndpointError)
LONGEST, SLOWEST = 600, 10.0
SPECIAL = (
    b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r", b'"', b"'", b",", b";", b"[", b"{", b"}", b"]", b":", b"null",
    b"NaN", b"-1", b"1e999", b"9" * 400, b"[" * 2000, b"{\"a\":" * 500, b"<image>", b"../../x", b"\x1b[31m",
    b"\xe2\x80\xae", b"true", b"=1+1", b"\\ud800", b"data:image/png;base64,AAAA", b"x" * 5000,
)  # fmt: skip


_MOMENTS = counted(time.time_ns())


@dataclass(frozen=True)
class Reader:
    """Files that are changed one at a time, and how they are read."""

    name: str
    whole: Mapping[str, bytes] = field(repr=False)
    """The files by their paths in a folder."""
    read: Callable[[Path], object] = field(repr=False)
    """Reads the file that was changed; the others are whole beside it."""
    sealed: bool = False
    """True for files that must be refused after any change."""
    beside: Callable[[Path], None] = field(default=lambda _: None, repr=False)
    """Writes what else the folder holds."""


def changed(content: bytes, chance: random.Random) -> bytes:
    """Return the content after one to four changes of its bytes or its structure."""
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randint(0, len(content)), chance.choice((1, 1, 2, 8, 64))
        kind = chance.randrange(7)
        if kind == 0:
            content = content[:at] + chance.choice(SPECIAL) + content[at:]
        elif kind == 1:
            content = content[:at] + content[at + length :]
        elif kind == 2:
            content = content[:at] + chance.choice(SPECIAL) + content[at + length :]
        elif kind == 3:
            content = content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]
        elif kind == 4:
            content = content[:at] + content[max(0, at - length) : at] * chance.choice((2, 9)) + content[at:]
        elif kind == 5:
            content = content[:at]
        else:
            content = restructured(content, chance)
    return content


def restructured(content: bytes, chance: random.Random) -> bytes:
    """Return JSON or JSONL with one value put in another's place; other content as it is."""
    try:
        lines = [json.loads(line) for line in content.decode().splitlines()]
    except (ValueError, RecursionError):
        return content
    if not lines or not isinstance(lines[0], dict):
        return content
    values: list[Any] = [
        None,
        True,
        3,
        -0.5,
        10**30,
        "",
        " ",
        [],
        {},
        [None],
        [["x"]],
        {"a": {}},
        "x" * 3000,
        "\u202e",
    ]
    row = chance.choice(lines)
    if isinstance(row, dict) and row:
        row[chance.choice(list(row))] = chance.choice(values)
    return "\n".join(json.dumps(line) for line in lines).encode()


def why_wrong(reader: Reader, name: str, content: bytes, folder: Path) -> str | None:
    """Return what is wrong with how the reader takes a content in place of a whole file; None if nothing is."""
    start, path = time.monotonic(), folder / name
    put(path, content)
    try:
        with at_most(2 * SLOWEST), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* is damaged; it is computed again")  # one line, and right
            reader.read(path)
        refused = None
    except OURS as error:
        refused = error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {str(error)[:200]!r}"
    finally:
        put(path, reader.whole[name])
    if time.monotonic() - start > SLOWEST:
        return f"it took {time.monotonic() - start:.0f} s"
    if refused is None:
        return "a changed file was believed" if reader.sealed and content != reader.whole[name] else None
    return unclear(str(refused))


def put(path: Path, content: bytes) -> None:
    """Write a file with a time of its own: two changes within one tick of the clock would look like one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    moment = next(_MOMENTS)
    os.utime(path, ns=(moment, moment))


def unclear(told: str) -> str | None:
    """Return what keeps a message from being one clear line; None if nothing does."""
    if len(told) > LONGEST or not told.strip():
        return f"a message of {len(told)} letters"
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in told):
        return f"control characters in {told[:200]!r}"
    return None


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError inside after these seconds."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"it hung for {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def tried(reader: Reader, count: int, seed: int = 0) -> tuple[int, list[str]]:
    """Return how many changed files failed, and what the first of them did."""
    chance, failed, told = random.Random(f"{reader.name} {seed}"), 0, []
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        reader.beside(folder)
        for name, content in reader.whole.items():
            put(folder / name, content)
        for name, content in reader.whole.items():
            if wrong := why_wrong(reader, name, content, folder):
                raise SystemExit(f"{reader.name}: the whole file {name} is not read: {wrong}")
        for place in range(count):
            name = chance.choice(list(reader.whole))
            if wrong := why_wrong(reader, name, changed(reader.whole[name], chance), folder):
                failed += 1
                told += [f"  input {place}, {name}: {wrong}"] if len(told) < 5 else []
    return failed, told
