"""Tables in files that others wrote: rows of a CSV, JSONL or parquet file, every cell as it was written."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

from regap.errors import first_line
from regap.geometry.data.outside_files import (
    MOST_BYTES,
    Unreadable,
    bytes_of,
    check_regular,
    json_of,
    text_of,
)

Row = dict[str, Any]
"""Cells by column; None for one that is missing. CSV cells are text."""
MOST_ROWS = 1_000_000
"""Most rows of a file; a small parquet file can hold many millions."""
MOST_COLUMNS = 10_000
SEPARATORS = ",;\t"
KINDS = (".csv", ".jsonl", ".parquet", ".tsv")
_AT_ONCE = 1024
_EXACT = 2**53
"""Whole numbers up to this one are exact as float64."""


def read_table(path: Path) -> list[Row]:
    """Return the rows of a CSV, TSV, JSONL or parquet file, by its ending; raises Unreadable for anything wrong."""
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise Unreadable(f"the ending {path.suffix[:20]!r} is not supported; use {', '.join(KINDS)}")
    if kind == ".parquet":
        return parquet_rows(path)
    text = text_of(bytes_of(path))
    return jsonl_rows(text) if kind == ".jsonl" else csv_rows(text)


def csv_rows(text: str, *, lenient: bool = False) -> list[Row]:
    """Return the rows of a CSV text separated by commas, semicolons or tabs, as its first row decides.

    Empty cells beyond the last column are left out, and a column without a name is called `Unnamed: 3`, by its place
    from 0. Raises Unreadable, with the row, for rows of unequal length and for quotes that are not closed; `lenient`
    takes rows that are too short, and text after a closing quote.
    """
    try:
        rows = list(_split(text, strict=True))
    except csv.Error as error:
        if not lenient or "expected after" not in str(error):
            raise Unreadable(f"it is not a valid csv file ({error}); write it again") from None
        rows = list(_split(text, strict=False))
    if not rows:
        raise Unreadable("it is empty and has no rows; write it again")
    header, *body = rows
    width = _width(header, body)
    names = [name or f"Unnamed: {place}" for place, name in enumerate(header[:width])]
    _check_names(names)
    return [_csv_row(number, names, cells, lenient) for number, cells in enumerate(body, start=1)]


def _split(text: str, strict: bool) -> Iterator[list[str]]:
    """Yield the cells of each row; lines without anything in them are left out."""
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))  # the library's own limit is 128 kB
    separator = max(SEPARATORS, key=lambda each: len(_first_row(text, each)))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=strict)
    for number, cells in enumerate(rows):
        if number > MOST_ROWS:
            raise Unreadable(_too_many())
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield cells


def _first_row(text: str, separator: str) -> list[str]:
    return next(csv.reader(io.StringIO(text[:100_000], newline=""), delimiter=separator), [])


def _width(header: Sequence[str], body: Iterable[Sequence[str]]) -> int:
    """Return the number of columns without those at the end that are wholly empty."""
    width = len(header)
    while width and not header[width - 1] and not any(len(row) >= width and row[width - 1] for row in body):
        width -= 1
    return width


def _csv_row(number: int, names: Sequence[str], cells: Sequence[str], lenient: bool) -> Row:
    inside, beyond = cells[: len(names)], cells[len(names) :]
    if any(beyond) or (len(inside) < len(names) and not lenient):
        raise Unreadable(
            f"row {number} has {len(cells)} cells, and the first row {len(names)}; quote cells that hold a separator"
        )
    return dict.fromkeys(names) | dict(zip(names, inside, strict=False))


def jsonl_rows(text: str) -> list[Row]:
    """Return the objects of a JSONL text, numbers as they are written; raises Unreadable, with the line."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if len(lines) > MOST_ROWS:
        raise Unreadable(_too_many())
    return [_json_row(number, line) for number, line in lines]


def _json_row(number: int, line: str) -> Row:
    try:
        found = json_of(line)
    except Unreadable as error:
        raise Unreadable(f"it is not a valid jsonl file (line {number}: {error}); write it again") from None
    if not isinstance(found, dict):
        kind = "a list" if isinstance(found, list) else "a single value"
        raise Unreadable(f"it is not a valid jsonl file (line {number} is {kind}); write one object a line")
    return found


def parquet_rows(path: Path) -> list[Row]:
    """Return the rows of a parquet file; its number of rows is checked before anything is read."""
    check_regular(path)
    try:
        with parquet.ParquetFile(path) as file:
            return _parquet_rows(file)
    except Unreadable:
        raise
    except Exception as error:  # a damaged file raises many kinds
        raise Unreadable(f"it is not a valid parquet file ({first_line(error)}); write it again") from None


def _parquet_rows(file: parquet.ParquetFile) -> list[Row]:
    if file.metadata.num_rows > MOST_ROWS:
        raise Unreadable(_too_many(file.metadata.num_rows))
    names = [name for name in file.schema_arrow.names if not name.startswith("__index_level_")]
    _check_names(names)
    columns: dict[str, list[Any]] = {name: [] for name in names}
    rows = size = 0
    for batch in file.iter_batches(_AT_ONCE, columns=names):
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows > MOST_ROWS or size > MOST_BYTES:
            raise Unreadable(
                _too_many() if rows > MOST_ROWS else f"it holds more than {MOST_BYTES:,} bytes; divide it"
            )
        for name in names:
            columns[name] += batch.column(name).to_pylist()
    kinds = {name: file.schema_arrow.field(name).type for name in names}
    values = [_numbers(cells, _precision(kinds[name])) for name, cells in columns.items()]
    return [dict(zip(names, cells, strict=True)) for cells in zip(*values, strict=True)]


def _precision(kind: pa.DataType) -> type[np.floating] | None:
    """Return NumPy's type of a column of floats, None for any other column."""
    if not pa.types.is_floating(kind):
        return None
    return {16: np.float16, 32: np.float32}.get(kind.bit_width, np.float64)


def frame_rows(table: pd.DataFrame) -> list[Row]:
    """Return the rows of a table of pandas; None for missing values of any kind."""
    names = [str(name) for name in table.columns]
    _check_names(names)
    if len(table) > MOST_ROWS:
        raise Unreadable(_too_many(len(table)))
    columns = [table.iloc[:, place] for place in range(len(names))]
    values = [
        _numbers([_plain(cell) for cell in column], _kept_precision(column.dtype)) for column in columns
    ]
    return [dict(zip(names, cells, strict=True)) for cells in zip(*values, strict=True)]


def _kept_precision(dtype: Any) -> type[np.floating] | None:
    dtype = getattr(dtype, "numpy_dtype", dtype)
    return dtype.type if isinstance(dtype, np.dtype) and dtype.kind == "f" else None


def _plain(cell: Any) -> Any:
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return None
    if isinstance(cell, np.ndarray):
        return cell.tolist()
    return cell.item() if isinstance(cell, np.generic) else cell


def _numbers(cells: list[Any], precision: type[np.floating] | None) -> list[Any]:
    """Return cells with their numbers as text, and None for NaN.

    In a column of floats with gaps, numbers that are all whole are read as whole numbers: libraries store whole
    numbers with gaps in this way. Those that no longer have all their digits are refused.
    """
    found = [None if isinstance(cell, float) and cell != cell else cell for cell in cells]
    floats = [cell for cell in found if isinstance(cell, float)]
    if (
        precision
        and None in found
        and floats
        and all(math.isfinite(each) and each.is_integer() for each in floats)
    ):
        large = next((each for each in floats if abs(each) > _EXACT), None)
        if large is not None:
            raise Unreadable(f"the number {large!r} has lost digits in a column with gaps; store it as text")
        return [None if cell is None else str(int(cell)) for cell in found]
    return [_digits(cell, precision or np.float64) for cell in found]


def _digits(cell: Any, precision: type[np.floating]) -> Any:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return cell
    return str(precision(cell)) if isinstance(cell, float) else str(cell)


def _check_names(names: Sequence[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise Unreadable(f"it has {len(names):,} columns, and at most {MOST_COLUMNS:,} are read; remove some")
    twice = first_repeated(names)
    if twice is not None:
        raise Unreadable(f"it has the column {twice[:60]!r} twice; rename or remove one of them")


def first_repeated(values: Iterable[str]) -> str | None:
    """Return the first value that is there for the second time; None if each is there once."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def _too_many(count: int | None = None) -> str:
    has = f"it has {count:,} rows, and" if count else "it has too many rows:"
    return f"{has} at most {MOST_ROWS:,} are read; divide it into smaller files"
