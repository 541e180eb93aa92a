"""Files of pairs: CSV, JSONL or parquet with one row per pair and arm."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from regap.errors import PairError
from regap.geometry.data.cells import Message, is_empty, media_in, media_of, message_of, turns_of, written
from regap.geometry.data.media import Media
from regap.geometry.data.outside_files import Unreadable
from regap.geometry.data.pairs import (
    IMAGE_SLOT,
    SOUND_SLOT,
    Label,
    Pair,
    Pairs,
    Prompt,
    Split,
    check_arm,
    check_media,
    is_speech_arm,
    split_of,
)
from regap.geometry.data.pictures import Picture
from regap.geometry.data.sounds import Sound
from regap.geometry.data.table_files import Row, first_repeated, frame_rows, read_table
from regap.geometry.files import write_whole

REQUIRED = ("pair_id", "label", "request", "text")
MEDIA = ("image", "images", "audio", "audios")
OPTIONAL = ("arm", "category", *MEDIA, "system", "turns", "answer", "split", "cluster", "shown")
ALSO_CALLED = {"id": "pair_id"}
"""Other names of columns; they are read if the column itself is not there."""
UNKNOWN = "-"
"""In the column `shown`: the words in the image or sound are not known."""
OF_PAIR = ("label", "request", "category", "answer", "split", "cluster")
"""Columns in which all rows of a pair are equal."""


@dataclass(frozen=True)
class _Line:
    """One row as it is used: the prompt of one arm, and what it says of its pair."""

    number: int
    arm: str
    prompt: Prompt
    cells: Mapping[str, str | None] = field(repr=False)
    """pair_id and OF_PAIR, None where nothing is written."""


def read_pairs(
    source: str | Path | pd.DataFrame,
    *,
    columns: Mapping[str, str | None] | None = None,
    labels: Mapping[object, Label] | None = None,
    splits: Mapping[object, Split] | None = None,
    arms: Mapping[object, str] | None = None,
) -> Pairs:
    """Return the pairs in a file or a table; every picture and sound is decoded once to prove that it is complete.

    Columns: pair_id (or id), label, and text or request (one is used for both if the other is absent); optional arm
    (default text), category, image (a path relative to the file and inside its folder, or in parquet the encoded
    bytes), images (a list of these), audio and audios (the same for sounds: WAV, FLAC, MP3, Ogg), system (the system
    message), turns (earlier turns, a JSON list such as [{"role": "user", "text": "Hi"}, {"role": "assistant", "text":
    "Hello"}]), answer, split (default: by a hash of the request), cluster (default: the pair), shown (the words in its
    image or sound; default: the request; `-` if not known). Paths in a table are relative to the working folder.

    Every cell is taken as it is written, a number by its digits. In JSONL and parquet, text may also be a list of
    messages, whose last is the user's. The arms speech and speech_noise have a sound in each row; all others, but text
    and caption, have a picture. In a row of speech, text may be empty: the sound is then the whole message.

    Other names can be mapped: `columns` maps a column of the file to one of these names, or to None to leave it out;
    `labels`, `splits` and `arms` map values, such as labels={"unsafe": "harmful", 0: "harmless"}. Raises PairError,
    naming file, row and remedy, for anything else.
    """
    _check_mappings(columns=columns, labels=labels, splits=splits, arms=arms)
    path = Path(source) if isinstance(source, str | Path) else Path("table")
    try:
        rows = frame_rows(source) if isinstance(source, pd.DataFrame) else read_table(path)
    except Unreadable as error:
        raise PairError(f"pairs file {path}: {error}") from None
    if not rows:
        raise PairError(f"pairs file {path} has no rows; it needs one row per pair and arm")
    rows = _named(path, rows, columns or {})
    for name, mapping in {"label": labels, "split": splits, "arm": arms}.items():
        rows = _valued(path, rows, name, mapping) if mapping else rows
    lines = _with_requests(path, [_line(path, number, row) for number, row in enumerate(rows, start=1)])
    grouped: dict[str, list[_Line]] = {}
    for line in lines:
        grouped.setdefault(line.cells["pair_id"] or "", []).append(line)
    return Pairs(tuple(_pair(path, group) for group in grouped.values()))


def write_pairs(pairs: Pairs, path: str | Path) -> None:
    """Write pairs to one parquet file that `read_pairs` reads back unchanged, pictures and sounds included.

    Raises PairError for a file name with another ending.
    """
    if Path(path).suffix.lower() != ".parquet":
        raise PairError(f"pairs file {path} must be a parquet file; give it a name that ends in .parquet")
    pairs = Pairs.of(pairs)
    rows = [
        {
            "pair_id": pair.pair_id,
            "arm": arm,
            "label": pair.label,
            "category": pair.category,
            "request": pair.request,
            "text": prompt.text,
            **_encoded("image", prompt.pictures),
            **_encoded("audio", prompt.sounds),
            "system": prompt.system,
            "turns": json.dumps([vars(turn) for turn in prompt.turns]) if prompt.turns else None,
            "answer": pair.answer,
            "split": pair.split,
            "cluster": pair.cluster,
            "shown": UNKNOWN if prompt.shown == "" else prompt.shown,
        }
        for pair in pairs
        for arm, prompt in pair.prompts.items()
    ]
    content = io.BytesIO()
    pd.DataFrame(rows).to_parquet(content, index=False)
    write_whole(Path(path), content.getvalue())


def _encoded(kind: str, media: Sequence[Media]) -> dict[str, Any]:
    return {
        kind: media[0].encoded() if len(media) == 1 else None,
        f"{kind}s": [each.encoded() for each in media] if media[1:] else None,
    }


def _check_mappings(**given: object) -> None:
    for name, mapping in given.items():
        if not isinstance(mapping, Mapping | None):
            raise PairError(
                f'{name} is {repr(mapping)[:60]}; give a mapping, as in {name}={{"THERE": "HERE"}}'
            )


def _named(path: Path, rows: Sequence[Row], columns: Mapping[str, str | None]) -> list[Row]:
    """Return the rows with all columns, under regap's names; raises PairError for missing and unknown columns."""
    there = list(dict.fromkeys(str(name) for row in rows for name in row))
    absent = [name for name in columns if name not in there]
    if absent:
        raise PairError(
            f"pairs file {path} has no column {absent[0]!r} to map; it has {', '.join(there[:20])}"
        )
    names = {name: columns.get(name, name) for name in there}
    names |= {
        old: new for old, new in ALSO_CALLED.items() if names.get(old) == old and new not in names.values()
    }
    found = [name for name in names.values() if name is not None]
    twice = first_repeated(found)
    if twice:
        raise PairError(
            f"pairs file {path} has the column {twice} twice; leave one of them out (columns=, --columns)"
        )
    missing = [name for name in ("pair_id", "label") if name not in found]
    missing += [] if "text" in found or "request" in found else ["text"]
    if missing:
        raise PairError(
            f"pairs file {path} lacks the column {', '.join(missing)}; required are pair_id, label, and text or "
            f'request: map another column to it, as in columns={{"COLUMN": "{missing[0]}"}} (--columns '
            f"COLUMN={missing[0]})"
        )
    unknown = [name for name in found if name not in REQUIRED + OPTIONAL]
    if unknown:
        raise PairError(
            f"pairs file {path} has the unknown column {', '.join(unknown)[:120]}; "
            f"known are {', '.join(REQUIRED + OPTIONAL)}: rename or remove it, or map it, as in "
            f'columns={{"{unknown[0][:40]}": None}} (--columns {unknown[0][:40]}=) to leave it out'
        )
    kept = [(old, new) for old, new in names.items() if new is not None]
    return [{new: row.get(old) for old, new in kept} for row in rows]


def _valued(path: Path, rows: Sequence[Row], name: str, mapping: Mapping[object, str]) -> list[Row]:
    """Return the rows with the values of a column mapped; raises PairError for a value that no row has."""
    if name not in rows[0]:
        raise PairError(
            f"pairs file {path} has no column {name}, so {name}s cannot be mapped; leave {name}s= out"
        )
    spelt = {spelling: value for value in mapping for spelling in _spellings(value)}
    met = [next((spelt[one] for one in _spellings(row[name]) if one in spelt), None) for row in rows]
    absent = [value for value in mapping if value not in met]
    if absent:
        has = ", ".join(sorted({str(row[name])[:40] for row in rows})[:8])
        raise PairError(f"pairs file {path} has no {name} {str(absent[0])[:40]!r} to map; it has {has}")
    return [
        row if value is None else {**row, name: mapping[value]} for row, value in zip(rows, met, strict=True)
    ]


def _spellings(value: object) -> tuple[str, ...]:
    """Return the ways to write a value that is to be mapped: True and true, 1.0 and 1."""
    text = str(value)
    if isinstance(value, bool):
        return (text, text.lower())
    return (text, text.partition(".")[0]) if re.fullmatch(r"-?\d+\.0+", text) else (text,)


def _line(path: Path, number: int, row: Row) -> _Line:
    """Return a row as it is used; raises PairError, with the row's number."""
    try:
        return _checked_line(path, number, {"arm": "text", **row})
    except PairError as error:
        raise PairError(f"pairs file {path}, row {number}: {error}") from None


def _checked_line(path: Path, number: int, row: Row) -> _Line:
    if not _is_blank(row["arm"]):
        check_arm(written("arm", row["arm"]))
    empty = [name for name in (*REQUIRED, "arm") if name in row and _is_blank(row[name])]
    alone = is_speech_arm(str(row["arm"])) and _is_blank(row.get("text"))  # the sound is the whole message
    if empty and not (alone and empty == ["text"]):
        raise PairError(f"{', '.join(empty)} is empty; fill it in or remove the row")
    cells = {
        name: None if is_empty(row.get(name)) else written(name, row[name])
        for name in ("pair_id", "arm", "system", "shown", *OF_PAIR)
    }
    for name, allowed in (("label", get_args(Label)), ("split", get_args(Split))):
        if cells[name] not in (None, *allowed):
            value = (cells[name] or "")[:60]
            raise PairError(
                f"{name} is {value!r}; write one of {', '.join(allowed)}, or map it to "
                f"one of them with {name}s={{{value!r}: ...}} (--{name}s {value}=...)"
            )
    arm = cells["arm"] or ""
    message = Message("") if alone else message_of(row["text"] if "text" in row else row["request"])
    pictures = tuple(media_in(path.parent, each, Picture) for each in media_of(row, message, Picture))
    sounds = tuple(media_in(path.parent, each, Sound) for each in media_of(row, message, Sound))
    if message.sounds and not sounds:
        raise PairError("text has a place for a sound, and the row names none; give the sound (audio)")
    prompt = Prompt(
        _with_slots(_with_slots(message.text, SOUND_SLOT, len(sounds)), IMAGE_SLOT, len(pictures)),
        pictures,
        _either("system", cells["system"], message.system),
        "" if cells["shown"] == UNKNOWN else cells["shown"],
        _either("turns", turns_of(row.get("turns")), message.turns) or (),
        sounds,
    )
    check_media(arm, prompt)
    return _Line(number, arm, prompt, {name: cells[name] for name in ("pair_id", *OF_PAIR)})


def _is_blank(value: object) -> bool:
    return is_empty(value) or (isinstance(value, str) and not value.strip())


def _with_slots(text: str, slot: str, count: int) -> str:
    """Return the text with a slot for each picture or sound; if it has none, they go before the text."""
    return text if slot in text else "\n".join([slot] * count + [text] * bool(text))


def _either(name: str, cell: Any, said: Any) -> Any:
    if cell and said:
        raise PairError(f"{name} is filled in, and text is a list of messages with it; keep one of them")
    return cell or said


def _with_requests(path: Path, lines: Sequence[_Line]) -> list[_Line]:
    """Return the rows with their requests: by default the text of the pair's text arm, or else the row's own words."""
    if lines[0].cells["request"] is not None:
        return list(lines)
    in_words: dict[str | None, str] = {}
    for line in lines:
        if line.arm == "text":
            in_words.setdefault(line.cells["pair_id"], line.prompt.text)
    found = []
    for line in lines:
        own = "".join(line.prompt.words).strip()
        request = in_words.get(line.cells["pair_id"], own)
        if not request.strip():
            raise PairError(
                f"pairs file {path}, row {line.number}: request is empty; fill it in or remove the row"
            )
        found.append(replace(line, cells={**line.cells, "request": request}))
    return found


def _pair(path: Path, lines: Sequence[_Line]) -> Pair:
    first = lines[0].cells
    name, request = first["pair_id"] or "", first["request"] or ""
    for column in OF_PAIR:
        other = next((line for line in lines if line.cells[column] != first[column]), None)
        if other:
            raise PairError(
                f"pairs file {path}: pair {name[:60]!r} has rows that differ in {column}; make them equal, or give "
                f"rows {lines[0].number} and {other.number} a pair_id each"
            )
    twice = first_repeated(line.arm for line in lines)
    if twice:
        raise PairError(f"pairs file {path}: pair {name[:60]!r} has arm {twice} twice; keep one row of it")
    try:
        return Pair(
            pair_id=name,
            label=first["label"],  # type: ignore[arg-type] - checked in its row
            category=first["category"] or "all",
            request=request,
            split=first["split"] or split_of(request),  # type: ignore[arg-type]
            prompts={line.arm: line.prompt for line in lines},
            answer=first["answer"],
            cluster=first["cluster"] or name,
        )
    except PairError as error:
        raise PairError(f"pairs file {path}: {error}") from None
