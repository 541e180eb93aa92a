"""What the cells of a pairs file say: text as it is written, messages of a conversation, and pictures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from regap.errors import PairError
from regap.geometry.data.outside_files import Unreadable, json_of
from regap.geometry.data.pairs import IMAGE_SLOT, Picture, Turn, check_words
from regap.geometry.data.pictures import shortened

LONGEST_PATH = 1024
MESSAGES = '[{"role": "user", "content": "Hi"}]'


@dataclass(frozen=True)
class Message:
    """The user's message of one row, with what comes before it."""

    text: str
    """Contains IMAGE_SLOT where its pictures go."""
    system: str | None = None
    turns: tuple[Turn, ...] = ()
    images: tuple[object, ...] = ()
    """The pictures that it names, if it names any."""


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
    if any(IMAGE_SLOT in words for _, words, _ in said[:-1]):
        raise PairError(
            "text is a list of messages with a picture before the last one; only the last may have pictures"
        )
    system = None
    if said[0][0] == "system":
        system, said = said[0][1], said[1:]
    if not said or said[-1][0] != "user":
        raise PairError(
            "text is a list of messages that does not end with the user's; end it with what is asked"
        )
    *before, (_, text, images) = said
    return Message(text, system, tuple(Turn(role, words) for role, words, _ in before), tuple(images))  # type: ignore[arg-type]


def _said(place: int, given: object) -> tuple[str, str, list[object]]:
    """Return the role of a message, its text with slots, and the pictures that it names."""
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


def _part(place: int, part: object) -> tuple[str, object]:
    """Return the text of one part of a message, or a slot and the picture that it names, if it names one."""
    if isinstance(part, dict) and part.get("type") == "text":
        return written(f"text, message {place}", part.get("text")), None
    if isinstance(part, dict) and part.get("type") == "image":
        named = [value for key, value in part.items() if key not in ("type", "text") and not is_empty(value)]
        if len(named) > 1:
            raise PairError(f"text, message {place} names one picture twice: {_told(part)}; keep one name")
        return IMAGE_SLOT, named[0] if named else None
    raise PairError(
        f"text, message {place} has the part {_told(part)}; write parts of the types text and image"
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


def images_of(row: dict[str, Any], message: Message) -> Sequence[object]:
    """Return the pictures of a row, as it names them: in image, images or its message; raises PairError for two."""
    one, several = row.get("image"), row.get("images")
    given = {"image": [one], "images": several, "text": message.images}
    found = [
        name for name, value in zip(given, (one, several, message.images), strict=True) if not is_empty(value)
    ]
    if len(found) > 1:
        raise PairError(f"{' and '.join(found)} are both filled in; keep one of them")
    if not found:
        return []
    images = given[found[0]]
    if not isinstance(images, list | tuple | np.ndarray):
        raise PairError(f"images is {_told(images)}, not a list; put one path or picture in image")
    empty = next((place for place, image in enumerate(images, start=1) if is_empty(image)), None)
    if empty is not None:
        raise PairError(f"images has an empty place, its number {empty}; fill it in or remove it")
    return list(images)


def picture_of(folder: Path, image: object) -> Picture:
    """Return the picture that a cell holds or names; paths are relative to the folder and stay inside it."""
    if isinstance(image, dict):  # how Hugging Face data sets store an image
        image = next((image[key] for key in ("bytes", "path") if not is_empty(image.get(key))), image)
    if isinstance(image, bytes):
        picture = Picture(image)
        picture.check("(bytes in the file)")
        return picture
    if not isinstance(image, str):
        raise PairError(f"image is {_told(image)}; write the path of a picture")
    if image.startswith("data:") or len(image) > LONGEST_PATH:
        raise PairError(
            f"image is {image[:40]!r}... of {len(image):,} letters, not a path; save the picture as a file and write "
            "its path, or its bytes in a parquet file"
        )
    asked = Path(image)
    try:
        inside = (folder / asked).resolve()
        outside = asked.is_absolute() or not inside.is_relative_to(folder.resolve())
    except (RuntimeError, ValueError, OSError):  # circular links, a NUL, or a name that is too long
        raise PairError(f"image {shortened(image)!r} is not a path; check the image column") from None
    if outside:
        raise PairError(
            f"image {shortened(image)} is outside the folder of the pairs file; put the image inside it"
        )
    return Picture.read(inside)


def _told(value: object) -> str:
    """Return the beginning of a value and its kind, for messages."""
    kinds = {bool: "a truth value", list: "a list", tuple: "a list", dict: "an object", bytes: "bytes"}
    kind = kinds.get(type(value), f"a {type(value).__name__}")
    try:
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        shown = "..."
    return repr(shown[:60]) if isinstance(value, str) else f"{shown[:60]}, {kind}"
