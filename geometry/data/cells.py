"""What the cells of a pairs file say: text as it is written, messages of a conversation, and pictures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from regap.errors import PairError
from regap.geometry.data.media import Found, read_media, shortened
from regap.geometry.data.outside_files import Unreadable, json_of
from regap.geometry.data.pairs import IMAGE_SLOT, SOUND_SLOT, Turn, check_words

LONGEST_PATH = 1024
MESSAGES = '[{"role": "user", "content": "Hi"}]'
MEDIA = {"image": IMAGE_SLOT, "audio": SOUND_SLOT}
"""The types of parts that name a picture or a sound, and the slot of each."""
Named = tuple[str, object]
"""A type of MEDIA, and the picture or sound that a part of it names; None if it names none."""


@dataclass(frozen=True)
class Message:
    """The user's message of one row, with what comes before it."""

    text: str
    """Contains IMAGE_SLOT where its pictures go, and SOUND_SLOT where its sounds go."""
    system: str | None = None
    turns: tuple[Turn, ...] = ()
    named: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    """The pictures and sounds that it names, by MEDIA."""
    sounds: int = 0
    """How many parts of its list are sounds, named or not."""


def is_empty(value: object) -> bool:
    """Return True for a cell that holds nothing: no value, no letter, an empty list, or a picture without content."""
    if isinstance(value, dict):
        return all(is_empty(each) for each in value.values())
    if isinstance(value, list | tuple | np.ndarray):
        return len(value) == 0
    return value is None or (isinstance(value, str | bytes) and not value) or value != value


def written(name: str, value: object) -> str:
    """Return a cell as text, a number by its digits; raises PairError for a list, an object or a truth value."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise PairError(f"{name} is {_told(value)}, not text; write it as text")
    text = str(value)
    check_words(name, text)
    return text


def message_of(value: object) -> Message:
    """Return the message in a cell: its text, or the last of a list of messages with the system message and turns."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        if isinstance(value, dict):
            raise PairError(
                f"text is {_told(value)}, not text; write text, or a list of messages such as {MESSAGES}"
            )
        return Message(written("text", value))
    said = [_said(place, each) for place, each in enumerate(value, start=1)]
    if any(IMAGE_SLOT in words or named for _, words, named in said[:-1]):
        raise PairError(
            "text is a list of messages with a picture or sound before the last one; only the last may have them"
        )
    system = None
    if said[0][0] == "system":
        system, said = said[0][1], said[1:]
    if not said or said[-1][0] != "user":
        raise PairError(
            "text is a list of messages that does not end with the user's; end it with what is asked"
        )
    *before, (_, text, named) = said
    by_kind = {
        kind: tuple(each for other, each in named if other == kind and each is not None) for kind in MEDIA
    }
    turns = tuple(Turn(role, words) for role, words, _ in before)  # type: ignore[arg-type]
    return Message(text, system, turns, by_kind, sum(kind == "audio" for kind, _ in named))


def _said(place: int, given: object) -> tuple[str, str, list[Named]]:
    """Return the role of a message, its text with slots, and the pictures and sounds that it names."""
    if (
        not isinstance(given, dict)
        or is_empty(given.get("content"))
        or not isinstance(given.get("role"), str)
    ):
        raise PairError(f"text, message {place} is {_told(given)}; write messages such as {MESSAGES}")
    if given["role"] not in ("system", "user", "assistant") or (given["role"] == "system" and place > 1):
        raise PairError(
            f"text, message {place} has the role {given['role'][:40]!r}; write user or assistant, and system only first"
        )
    content = given["content"]
    if not isinstance(content, list | tuple | np.ndarray):
        return given["role"], written(f"text, message {place}", content), []
    parts = [_part(place, part) for part in content]
    return given["role"], "".join(text for text, _ in parts), [name for _, name in parts if name is not None]


def _part(place: int, part: object) -> tuple[str, Named | None]:
    """Return the text of one part of a message, or a slot and the picture or sound that it names, if it names one."""
    if isinstance(part, dict) and part.get("type") == "text":
        return written(f"text, message {place}", part.get("text")), None
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict) and isinstance(kind, str) and kind in MEDIA:
        named = [value for key, value in part.items() if key not in ("type", "text") and not is_empty(value)]
        if len(named) > 1:
            raise PairError(f"text, message {place} names one {kind} twice: {_told(part)}; keep one name")
        return MEDIA[kind], (kind, named[0] if named else None)
    raise PairError(
        f"text, message {place} has the part {_told(part)}; write parts of the types text, image and audio"
    )


def turns_of(given: object) -> tuple[Turn, ...]:
    """Return the earlier turns in a cell: nothing, a JSON list, or the list itself."""
    if is_empty(given):
        return ()
    try:
        listed = json_of(given) if isinstance(given, str) else given
        return tuple(_turn(turn) for turn in listed)  # type: ignore[union-attr]
    except (TypeError, KeyError, AttributeError, Unreadable):
        raise PairError(
            f"turns is {_told(given)}; write a JSON list such as "
            '[{"role": "user", "text": "Hi"}, {"role": "assistant", "text": "Hello"}]'
        ) from None


def _turn(given: Any) -> Turn:
    text = given.get("text")
    return Turn(given["role"], written("the text of a turn", given.get("content") if text is None else text))


def media_of(row: Mapping[str, Any], message: Message, kind: type[Found]) -> list[Any]:
    """Return the pictures or sounds of a row, as it names them: in image, images or its message.

    Raises PairError if it names them twice, or leaves a place empty.
    """
    one, several, said = row.get(kind.kind), row.get(f"{kind.kind}s"), message.named.get(kind.kind, ())
    given = {kind.kind: [one], f"{kind.kind}s": several, "text": said}
    found = [name for name, value in zip(given, (one, several, said), strict=True) if not is_empty(value)]
    if len(found) > 1:
        raise PairError(f"{' and '.join(found)} are both filled in; keep one of them")
    if not found:
        return []
    named = given[found[0]]
    if not isinstance(named, list | tuple | np.ndarray):
        raise PairError(f"{found[0]} is {_told(named)}, not a list; put one path or file in {kind.kind}")
    empty = next((place for place, each in enumerate(named, start=1) if is_empty(each)), None)
    if empty is not None:
        raise PairError(f"{found[0]} has an empty place, its number {empty}; fill it in or remove it")
    return list(named)


def media_in(folder: Path, cell: object, kind: type[Found]) -> Found:
    """Return the picture or sound that a cell holds or names; paths are relative to the folder and stay inside it."""
    name = kind.kind
    if isinstance(cell, dict):  # how Hugging Face data sets store an image or a sound
        cell = next((cell[key] for key in ("bytes", "path") if not is_empty(cell.get(key))), cell)
    if isinstance(cell, bytes):
        found = kind(cell)
        found.check("(bytes in the file)")
        return found
    if not isinstance(cell, str):
        raise PairError(f"{name} is {_told(cell)}; write the path of a file")
    if cell.startswith("data:") or len(cell) > LONGEST_PATH:
        raise PairError(
            f"{name} is {cell[:40]!r}... of {len(cell):,} letters, not a path; save it as a file and write its path, "
            "or its bytes in a parquet file"
        )
    asked = Path(cell)
    try:
        inside = (folder / asked).resolve()
        outside = asked.is_absolute() or not inside.is_relative_to(folder.resolve())
    except (RuntimeError, ValueError, OSError):  # circular links, a NUL, or a name that is too long
        raise PairError(f"{name} {shortened(cell)!r} is not a path; check the {name} column") from None
    if outside:
        raise PairError(
            f"{name} {shortened(cell)} is outside the folder of the pairs file; put the file inside it"
        )
    return read_media(kind, inside)


def _told(value: object) -> str:
    """Return the beginning of a value and its kind, for messages."""
    kinds = {bool: "a truth value", list: "a list", tuple: "a list", dict: "an object", bytes: "bytes"}
    kind = kinds.get(type(value), f"a {type(value).__name__}")
    try:
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        shown = "..."
    return repr(shown[:60]) if isinstance(value, str) else f"{shown[:60]}, {kind}"
