"""Tables of results that fit their schema, saved in and loaded from a run folder."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from regap.analyses.runs.questions import questions_of
from regap.analyses.tables.parquet_files import AGAIN, read_sealed_table, write_sealed_table
from regap.analyses.tables.schemas import SCHEMAS, command_for, conform
from regap.geometry.files import opened_json

ARROW = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}


@dataclass(frozen=True, eq=False)
class Record:
    """One table of a run, which always fits the schema of its name.

    name: one of `regap.analyses.tables.schemas.SCHEMAS`. table: a copy, in the schema's column order and types.
    Raises ValueError on wrong columns, no rows, unknown categories, repeated keys or inverted intervals.
    """

    name: str
    table: pd.DataFrame

    def __post_init__(self) -> None:
        if self.name not in SCHEMAS:
            raise ValueError(f"name={self.name!r} is not a table; choose one of {sorted(SCHEMAS)}")
        object.__setattr__(self, "table", conform(self.name, self.table))

    def where(self, **equal: object) -> pd.DataFrame:
        """Return the rows with these values in these columns."""
        rows = self.table
        for column, value in equal.items():
            rows = rows.loc[rows[column] == value]
        return rows

    def save(self, run_folder: Path | str) -> Path:
        """Write tables/<name>.parquet whole or not at all; equal tables give equal bytes."""
        path = own_table(run_folder, self.name)
        columns = SCHEMAS[self.name].columns
        schema = pa.schema([(column, ARROW[kind.kind]) for column, kind in columns.items()])
        return write_sealed_table(path, pa.Table.from_pandas(self.table, schema, preserve_index=False))

    @classmethod
    def load(cls, run_folder: Path | str, name: str) -> "Record":
        """Return this table of a run.

        Raises FileNotFoundError, with the analysis that makes it, if it is missing, and StoreError if it is damaged.
        """
        if name not in SCHEMAS:
            raise ValueError(f"name={name!r} is not a table; choose one of {sorted(SCHEMAS)}")
        path = table_path(run_folder, name)
        if not path.is_file():
            raise FileNotFoundError(
                f"the run folder {str(run_folder)!r} has no table {name!r} (tables/{name}.parquet); "
                f"`{command_for(name)}` makes it, in the analysis {SCHEMAS[name].analysis!r}"
            )
        return cls(name, read_sealed_table(path))


@dataclass(frozen=True)
class Interval:
    """A stored estimate: value, its interval from low to high if known, and n observations."""

    value: float
    low: float | None
    high: float | None
    n: int | None


@dataclass(frozen=True)
class Summary:
    """The content of summary.json, empty if the run has none."""

    content: Mapping[str, Any]

    @classmethod
    def load(cls, run_folder: Path | str) -> "Summary":
        """Return summary.json of a run, or an empty summary; raises StoreError if the file is damaged."""
        path = Path(run_folder) / "summary.json"
        return cls(opened_json(path, path.name, AGAIN) if path.is_file() else {})

    @property
    def model(self) -> str | None:
        """The model's name."""
        return self.text("model")

    @property
    def layer(self) -> int | None:
        """The reported layer, chosen on calibration pairs, 0-based."""
        layer = self.content.get("layer")
        return layer if isinstance(layer, int) and not isinstance(layer, bool) else None

    def text(self, key: str) -> str | None:
        """Return the text under a top-level key, None if there is none."""
        value = self.content.get(key)
        return value if isinstance(value, str) else None

    def at(self, *path: str) -> Any:
        """Return the value at this path of keys, None if the path does not exist."""
        found: Any = self.content
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def interval(self, *path: str) -> Interval | None:
        """Return the estimate at this path of keys, None if there is none or its value is unknown."""
        found = self.at(*path)
        if not isinstance(found, dict) or not isinstance(found.get("value"), int | float):
            return None
        return Interval(float(found["value"]), found.get("low"), found.get("high"), found.get("n"))


@dataclass(frozen=True, eq=False)
class RunRecords:
    """The tables and summary of a run, for figures and report.

    records: the tables that fit their schema. unreadable: for each other table, why it was left out.
    """

    folder: Path
    records: Mapping[str, Record]
    unreadable: Mapping[str, str]
    summary: Summary

    def digest(self, name: str) -> str:
        """Return the SHA-256 of the file of a table of the run."""
        return digest_of_table(self.folder, name)

    @classmethod
    def load(cls, run_folder: Path | str) -> "RunRecords":
        """Return the tables of a run folder; raises FileNotFoundError if there is no such folder."""
        folder = Path(run_folder)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"run_folder={str(run_folder)!r} is not a folder; make one with `regap run`"
            )
        records, unreadable = {}, {}
        for name in SCHEMAS:
            if not table_path(folder, name).is_file():
                continue
            try:
                records[name] = Record.load(folder, name)
            except (ValueError, OSError) as error:  # one bad table must not hide the others
                unreadable[name] = str(error)
        return cls(folder, records, unreadable, Summary.load(folder))


def digest_of_table(run_folder: Path | str, name: str) -> str:
    """Return the SHA-256 of the file of the table; equal digests mean equal numbers."""
    return hashlib.sha256(table_path(run_folder, name).read_bytes()).hexdigest()


def table_path(run_folder: Path | str, name: str) -> Path:
    """Return the path of this table of a run: in the newest answer that has it, else among the run's own tables."""
    for question in questions_of(run_folder):
        path = own_table(question.folder, name)
        if path.is_file():
            return path
    return own_table(run_folder, name)


def own_table(run_folder: Path | str, name: str) -> Path:
    """Return the path of this table in exactly this folder, of a run or of an answer."""
    return Path(run_folder) / "tables" / f"{name}.parquet"
