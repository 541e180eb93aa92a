"""Read the files of a downloaded benchmark: find them, decode them and check their columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regap.errors import PairError, one_line
from regap.geometry.data.cells import is_empty, written
from regap.geometry.data.outside_files import Unreadable, bytes_of, json_of, marked_text
from regap.geometry.data.table_files import csv_rows, jsonl_rows, parquet_rows


@dataclass(frozen=True)
class SourceRow:
    """One row of a file, with its place for messages."""

    where: str
    """File and number of the row, for messages."""
    values: Mapping[str, Any]

    def text(self, column: str, *others: str) -> str:
        """Return the text of the first of these columns that is filled in; raises PairError if none is."""
        found = self.get(column, *others)
        if not found:
            state = "is empty" if any(name in self.values for name in (column, *others)) else "is missing"
            raise PairError(f"{self.where}: {column} {state}; fill it in or download the file again")
        return found

    def get(self, *columns: str) -> str:
        """Return the stripped text of the first of these columns that is filled in; empty if none is.

        Numbers are returned by their digits. Raises PairError for a list, an object or a truth value.
        """
        for column in columns:
            value = self.values.get(column)
            found = "" if is_empty(value) else self.written(column, value)
            if found:
                return found
        return ""

    def written(self, name: str, value: object) -> str:
        """Return a value of this row as stripped text; raises PairError for a list, an object or a truth value."""
        try:
            return written(name, value).strip()
        except PairError as error:
            raise PairError(f"{self.where}: {error}") from None

    def raw(self, column: str) -> Any:
        """Return the value in a column, of any type; raises PairError if there is no such column."""
        if column not in self.values:
            raise PairError(f"{self.where}: {column} is missing; download the file again")
        return self.values[column]

    def image(self, column: str = "image") -> bytes:
        """Return the encoded picture that a column holds; raises PairError if it holds none."""
        value = self.raw(column)
        value = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(value, bytes):
            raise PairError(f"{self.where}: {column} holds no picture; download the file again")
        return value

    def inner(self, column: str) -> "SourceRow":
        """Return the object in a column as a row of its own; raises PairError if it is not an object."""
        value = self.raw(column)
        if not isinstance(value, dict):
            raise PairError(
                f"{self.where}: {column} is {str(value)[:40]!r}, not an object; download it again"
            )
        return SourceRow(f"{self.where}, {column}", value)


@dataclass
class BenchmarkFiles:
    """The folder of a benchmark, with notes on what is unusual about its files."""

    name: str
    """Name of the benchmark, for messages."""
    folder: Path
    notes: list[str] = field(default_factory=list)

    def find(self, *patterns: str) -> Path | None:
        """Return the first file or folder that matches one of these patterns, tried in order; None if none does."""
        for pattern in patterns:
            found = sorted(self.folder.glob(pattern))
            if found:
                return found[0]
        return None

    def file(self, *patterns: str) -> Path:
        """Return the first file that matches one of these patterns; raises PairError if none does."""
        found = self.find(*patterns)
        if found is None:
            raise PairError(
                f"{self.name}: no {' or '.join(patterns)} in {self.folder}; "
                "name the folder that was downloaded (`regap benchmarks` says where to get it)"
            )
        return found

    def place(self, *folders: str) -> Path:
        """Return the first of these subfolders that exists, as a relative path; the first one if none does."""
        return next((Path(name) for name in folders if (self.folder / name).is_dir()), Path(folders[0]))

    def text(self, path: Path) -> str:
        """Return a file's text; lines that are not UTF-8 are decoded as Windows-1252, with a note."""
        try:
            found, odd = decoded(bytes_of(path))
        except Unreadable as error:
            raise PairError(f"{self.name}: {path}: {error}") from None
        if odd:
            self.notes.append(
                f"{self.name}: {odd} lines of {path.name} are not UTF-8 and were read as Windows-1252"
            )
        return found

    def rows(self, path: Path, columns: Sequence[str] = ()) -> Iterator[SourceRow]:
        """Yield the rows of a CSV, TSV, JSON (a list), JSONL or parquet file that has at least these columns."""
        try:
            records = self._records(path)
        except Unreadable as error:
            raise PairError(
                f"{self.name}: {path} cannot be read ({error}); download the file again"
            ) from None
        if not records:
            raise PairError(f"{self.name}: {path} has no rows; download the file again")
        for number, values in enumerate(records, start=1):
            if not isinstance(values, dict):
                raise PairError(
                    f"{self.name}: {path.name}, row {number} is not an object; download the file again"
                )
            missing = [column for column in columns if column not in values]
            if missing:
                raise PairError(
                    f"{self.name}: {path.name}, row {number} lacks the column {', '.join(missing)}; "
                    f"it has {one_line(', '.join(map(str, list(values)[:12])), 200)}"
                )
            yield SourceRow(f"{self.name}: {path.name}, row {number}", values)

    def entries(self, path: Path) -> Iterator[tuple[str, SourceRow]]:
        """Yield the name and row of each entry in a JSON file that holds an object of objects."""
        content = self.json(path)
        if not isinstance(content, dict) or not content:
            raise PairError(f"{self.name}: {path} is not a JSON object with entries; download the file again")
        for name, values in content.items():
            where = f"{self.name}: {path.name}, entry {name[:60]!r}"
            if not isinstance(values, dict):
                raise PairError(f"{where} is not an object; download the file again")
            yield name, SourceRow(where, values)

    def json(self, path: Path) -> Any:
        """Return the content of a JSON file; raises PairError if it is not JSON, or an object has a name twice."""
        try:
            return json_of(self.text(path))
        except Unreadable as error:
            raise PairError(
                f"{self.name}: {path} is not valid JSON ({error}); download the file again"
            ) from None

    def _records(self, path: Path) -> list[Any]:
        kind = path.suffix.lower()
        if kind == ".parquet":
            return parquet_rows(path)
        text = self.text(path)
        if kind in (".csv", ".tsv"):
            return csv_rows(text, lenient=True)
        if kind == ".jsonl" or not text.lstrip().startswith("["):
            return jsonl_rows(text)
        return self.json(path)


def decoded(data: bytes) -> tuple[str, int]:
    """Return the text, and how many of its lines are not UTF-8 and were read as Windows-1252 instead.

    A byte order mark decides if there is one. Else each line is decoded on its own, so that a line in another encoding
    does not garble the others; bytes that Windows-1252 leaves undefined are read as Latin-1.
    """
    try:
        marked = marked_text(data)
    except UnicodeDecodeError as error:
        raise Unreadable(f"it begins as {error.encoding}, and is not; download the file again") from None
    if marked is not None:
        return marked, 0
    try:
        return data.decode(), 0
    except UnicodeDecodeError:
        lines = [_line(line) for line in data.split(b"\n")]
        return "\n".join(text for text, _ in lines), sum(odd for _, odd in lines)


def _line(line: bytes) -> tuple[str, bool]:
    try:
        return line.decode(), False
    except UnicodeDecodeError:
        try:
            return line.decode("cp1252"), True
        except UnicodeDecodeError:
            return line.decode("latin-1"), True
