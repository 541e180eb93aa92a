"""Files of pairs: CSV, JSONL or parquet with one row per pair and arm."""

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from regap.errors import PairError, first_line
from regap.geometry.data.pairs import (
    IMAGE_SLOT,
    Label,
    Pair,
    Pairs,
    Picture,
    Prompt,
    Split,
    Turn,
    check_arm,
    split_of,
)
from regap.geometry.files import write_whole

REQUIRED = ("pair_id", "label", "request", "text")
OPTIONAL = ("arm", "category", "image", "images", "system", "turns", "answer", "split", "cluster", "shown")
ALSO_CALLED = {"id": "pair_id"}
"""Other names of columns; they are read if the column itself is not there."""
UNKNOWN = "-"
"""In the column `shown`: the words in the image are not known."""
_READERS = {
    ".csv": lambda data: pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False),
    ".jsonl": lambda data: pd.DataFrame(
        [json.loads(line) for line in data.decode().split("\n") if line.strip()]
    ),
    ".parquet": lambda data: pd.read_parquet(io.BytesIO(data)),
}


def read_pairs(
    source: str | Path | pd.DataFrame,
    *,
    columns: Mapping[str, str | None] | None = None,
    labels: Mapping[object, Label] | None = None,
    splits: Mapping[object, Split] | None = None,
    arms: Mapping[object, str] | None = None,
) -> Pairs:
    """Return the pairs in a file or a table; every picture is decoded once to prove that it is complete.

    Columns: pair_id (or id), label, and text or request (one is used for both if the other is absent); optional arm
    (default text), category, image (a path relative to the file and inside its folder, or in parquet the encoded
    bytes), images (a list of these), system (the system message), turns (earlier turns, a JSON list such as [{"role":
    "user", "text": "Hi"}, {"role": "assistant", "text": "Hello"}]), answer, split (default: by a hash of the request),
    cluster (default: the pair), shown (the words in its image; default: the request; `-` if not known). Image paths in
    a table are relative to the working folder.

    Other names can be mapped: `columns` maps a column of the file to one of these names, or to None to leave it out;
    `labels`, `splits` and `arms` map values, such as labels={"unsafe": "harmful", 0: "harmless"}. Raises PairError,
    naming file, row and remedy, for anything else.
    """
    _check_mappings(columns=columns, labels=labels, splits=splits, arms=arms)
    given = isinstance(source, str | Path)
    path = Path(source) if given else Path("table")
    table = _table(path) if given else source
    table = _named(path, table, columns or {})
    values = {"label": labels or {}, "split": splits or {}, "arm": arms or {}}
    table = _valued(path, table, {name: mapping for name, mapping in values.items() if mapping})
    rows = [_row(path, number, row) for number, row in enumerate(table.to_dict("records"), start=1)]
    grouped: dict[str, list[dict]] = {}
    for row in rows:
        grouped.setdefault(row["pair_id"], []).append(row)
    return Pairs(tuple(_pair(path, group) for group in grouped.values()))


def write_pairs(pairs: Pairs, path: str | Path) -> None:
    """Write pairs to one parquet file that `read_pairs` reads back unchanged, pictures included.

    Raises PairError for a file name with another ending.
    """
    if Path(path).suffix != ".parquet":
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
            "image": prompt.pictures[0].encoded() if len(prompt.pictures) == 1 else None,
            "images": [picture.encoded() for picture in prompt.pictures] if prompt.pictures[1:] else None,
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


def _table(path: Path) -> pd.DataFrame:
    if path.suffix not in _READERS:
        raise PairError(
            f"pairs file {path}: the ending {path.suffix!r} is not supported; use {', '.join(_READERS)}"
        )
    try:
        table = _READERS[path.suffix](path.read_bytes())
    except OSError as error:
        raise PairError(f"pairs file {path}: {error.strerror or error}; check the path") from None
    except Exception as error:
        reason = first_line(error)
        raise PairError(
            f"pairs file {path} is not a valid {path.suffix[1:]} file ({reason}); write it again"
        ) from None
    if table.empty:
        raise PairError(f"pairs file {path} has no rows; it needs one row per pair and arm")
    return table


def _check_mappings(**given: object) -> None:
    for name, mapping in given.items():
        if not isinstance(mapping, Mapping | None):
            raise PairError(f'{name} is {mapping!r}; give a mapping, as in {name}={{"THERE": "HERE"}}')


def _named(path: Path, table: pd.DataFrame, columns: Mapping[str, str | None]) -> pd.DataFrame:
    """Return the table with its columns renamed; raises PairError for missing and unknown columns."""
    table = table.rename(columns=str)
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise PairError(
            f"pairs file {path} has no column {absent[0]!r} to map; it has {', '.join(table.columns)}"
        )
    table = table.drop(columns=[name for name, to in columns.items() if to is None])
    table = table.rename(columns={name: to for name, to in columns.items() if to is not None})
    found = list(table.columns)
    table = table.rename(columns={old: new for old, new in ALSO_CALLED.items() if new not in found})
    twice = _first_repeated(table.columns)
    if twice:
        raise PairError(f"pairs file {path} has the column {twice} twice; map one of them to None (columns=)")
    if "arm" not in table.columns:
        table = table.assign(arm="text")
    if "text" not in table.columns and "request" in table.columns:
        table = table.assign(text=table["request"])
    if "request" not in table.columns and {"text", "pair_id"} <= set(table.columns):
        table = table.assign(request=_requests(table))
    missing = [name for name in ("pair_id", "label", "text") if name not in table.columns]
    if missing:
        raise PairError(
            f"pairs file {path} lacks the column {', '.join(missing)}; required are pair_id, label, and text or "
            f'request: map another column to it, as in columns={{"COLUMN": "{missing[0]}"}} (--columns '
            f"COLUMN={missing[0]})"
        )
    unknown = [name for name in table.columns if name not in REQUIRED + OPTIONAL]
    if unknown:
        raise PairError(
            f"pairs file {path} has the unknown column {', '.join(unknown)}; "
            f"known are {', '.join(REQUIRED + OPTIONAL)}: rename or remove it, or map it, as in "
            f'columns={{"{unknown[0]}": None}} (--columns {unknown[0]}=) to leave it out'
        )
    return table


def _requests(table: pd.DataFrame) -> list[object]:
    """Return the request of each row: the text of its pair's text arm, or else its own text without slots."""
    in_words = table[table["arm"] == "text"].drop_duplicates("pair_id").set_index("pair_id")["text"]
    return [
        in_words.get(pair_id, text.replace(IMAGE_SLOT, "").strip() if isinstance(text, str) else text)
        for pair_id, text in zip(table["pair_id"], table["text"], strict=True)
    ]


def _valued(path: Path, table: pd.DataFrame, values: Mapping[str, Mapping[object, str]]) -> pd.DataFrame:
    """Return the table with the values of these columns mapped; raises PairError for a value that no row has."""
    for name, mapping in values.items():
        if name not in table.columns:
            raise PairError(
                f"pairs file {path} has no column {name}, so {name}s cannot be mapped; leave {name}s= out"
            )
        as_text = {_as_text(value): to for value, to in mapping.items()}
        there = {_as_text(value) for value in table[name]}
        absent = [value for value in as_text if value not in there]
        if absent:
            raise PairError(
                f"pairs file {path} has no {name} {absent[0]!r} to map; it has {', '.join(sorted(there)[:8])}"
            )
        table = table.assign(**{name: [as_text.get(_as_text(value), value) for value in table[name]]})
    return table


def _as_text(value: object) -> str:
    """Return a cell as text; whole numbers are written without a decimal point, also if the file stores floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _row(path: Path, number: int, row: dict) -> dict:
    """Return the row with its prompt and with None for empty cells; raises PairError, with the row's number."""
    clean = {key: (None if _is_empty(value) else value) for key, value in row.items()}
    where = f"pairs file {path}, row {number}"
    empty = [name for name in (*REQUIRED, "arm") if clean.get(name) is None]
    if empty:
        raise PairError(f"{where}: {', '.join(empty)} is empty; fill it in or remove the row")
    for name, allowed in (("label", get_args(Label)), ("split", get_args(Split))):
        if clean.get(name) not in (None, *allowed):
            raise PairError(
                f"{where}: {name} is {clean[name]!r}; write one of {', '.join(allowed)}, or map it to "
                f"one of them with {name}s={{{clean[name]!r}: ...}}"
            )
    try:
        clean["arm"] = check_arm(str(clean["arm"]))
        clean["prompt"] = _prompt(path.parent, str(clean["text"]), _images(clean), clean)
    except PairError as error:
        raise PairError(f"{where}: {error}") from None
    return clean


def _images(row: dict) -> list[object]:
    several, one = row.get("images"), row.get("image")
    if several is None:
        return [] if one is None else [one]
    if one is not None:
        raise PairError("image and images are both filled in; keep one of them")
    if not isinstance(several, list | np.ndarray):
        raise PairError(f"images is {str(several)[:40]!r}, not a list; put one path or picture in image")
    return list(several)


def _prompt(folder: Path, text: str, images: list[object], row: dict) -> Prompt:
    pictures = tuple(_picture(folder, image) for image in images)
    if pictures and IMAGE_SLOT not in text:
        text = f"{IMAGE_SLOT}\n" * len(pictures) + text
    system, shown = (None if row.get(name) is None else str(row[name]) for name in ("system", "shown"))
    return Prompt(text, pictures, system, "" if shown == UNKNOWN else shown, _turns(row.get("turns")))


def _turns(given: object) -> tuple[Turn, ...]:
    """Return the earlier turns of a cell: nothing, a JSON list, or the list itself."""
    if given is None:
        return ()
    try:
        listed = json.loads(given) if isinstance(given, str) else given
        return tuple(Turn(turn["role"], turn.get("text", turn.get("content"))) for turn in listed)  # type: ignore[union-attr]
    except (TypeError, KeyError, AttributeError, json.JSONDecodeError):
        raise PairError(
            f"turns is {str(given)[:60]!r}; write a JSON list such as "
            '[{"role": "user", "text": "Hi"}, {"role": "assistant", "text": "Hello"}]'
        ) from None


def _picture(folder: Path, image: object) -> Picture:
    if isinstance(image, dict):  # how Hugging Face data sets store an image
        image = image.get("bytes") or image.get("path")
    if isinstance(image, bytes):
        picture = Picture(image)
        picture.check("(bytes in the file)")
        return picture
    asked = Path(str(image))
    try:
        inside = (folder / asked).resolve()
    except (RuntimeError, ValueError):  # circular links, or a NUL in the name
        raise PairError(f"image {str(asked)!r} is not a path; check the image column") from None
    if asked.is_absolute() or not inside.is_relative_to(folder.resolve()):
        raise PairError(f"image {asked} is outside the folder of the pairs file; put the image inside it")
    return Picture.read(inside)


def _pair(path: Path, rows: list[dict]) -> Pair:
    first = rows[0]
    name = str(first["pair_id"])
    for column in ("label", "request", "category", "answer", "split", "cluster"):
        if len({str(row.get(column)) for row in rows}) > 1:
            raise PairError(
                f"pairs file {path}: pair {name!r} has rows that differ in {column}; make them equal"
            )
    arms = [row["arm"] for row in rows]
    twice = _first_repeated(arms)
    if twice:
        raise PairError(f"pairs file {path}: pair {name!r} has arm {twice} twice; keep one row of it")
    try:
        return Pair(
            pair_id=name,
            label=first["label"],
            category=str(first.get("category") or "all"),
            request=str(first["request"]),
            split=first.get("split") or split_of(str(first["request"])),
            prompts={row["arm"]: row["prompt"] for row in rows},
            answer=None if first.get("answer") is None else str(first["answer"]),
            cluster=str(first.get("cluster") or name),
        )
    except PairError as error:
        raise PairError(f"pairs file {path}: {error}") from None


def _first_repeated(values: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def _is_empty(value: object) -> bool:
    if isinstance(value, list | np.ndarray):
        return len(value) == 0
    return (
        value is None
        or (isinstance(value, str) and not value)
        or (isinstance(value, float) and value != value)
    )
