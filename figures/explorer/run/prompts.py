"""The prompts of a run from prompts.parquet: requests, rendered prompts, pictures and sounds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as parquet

from regap.analyses.tables.parquet_files import columns_in, read_sealed_table

PNG = b"\x89PNG\r\n\x1a\n"
MOST_PICTURE_BYTES = 400_000
FLAC = b"fLaC"
MOST_SOUND_BYTES = 1_200_000
STORED = ("request", "answer", "prompt", "image_png", "audio_flac")


@dataclass(frozen=True)
class Asked:
    """One prompt; texts are empty and picture and sound are None if the run does not store them."""

    request: str = ""
    rendered: str = ""
    answer: str = ""
    picture: bytes | None = field(default=None, repr=False)
    sound: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of a run, with names and requests in memory; the rest is read for one prompt at a time."""

    path: Path
    columns: tuple[str, ...]
    requests: pd.Series = field(repr=False)
    """Requests by pair_id."""
    names: pd.MultiIndex = field(repr=False)
    """pair_id and arm of every row."""

    @classmethod
    def of(cls, path: Path) -> "Prompts":
        """Return the prompts in a file; empty if it is missing or lacks columns."""
        columns = columns_in(path) if path.is_file() else ()
        if not {"pair_id", "arm", "request"} <= set(columns):
            return cls(path, (), pd.Series(dtype=object), pd.MultiIndex.from_arrays([[], []]))
        table = read_sealed_table(path, ["pair_id", "arm", "request"])
        requests = table.drop_duplicates("pair_id").set_index("pair_id")["request"]
        return cls(path, columns, requests, pd.MultiIndex.from_frame(table[["pair_id", "arm"]]))

    def one(self, pair_id: str, arm: str) -> Asked:
        """Return the prompt of a pair in an arm; an empty one if the run does not store it."""
        wanted = [name for name in STORED if name in self.columns]
        places = self.names.get_indexer_for([(pair_id, arm)]) if wanted else [-1]
        if places[0] < 0:
            return Asked(request=str(self.requests.get(pair_id, "")))
        row = row_of(self.path, int(places[0]), wanted)
        texts = (row["request"] or "", row.get("prompt") or "", row.get("answer") or "")
        return Asked(*texts, safe_picture(row.get("image_png")), safe_sound(row.get("audio_flac")))


def row_of(path: Path, place: int, columns: list[str]) -> dict[str, Any]:
    """Return one row of a parquet file by its index; only its row group is read."""
    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if place < count:
                return file.read_row_group(group, columns=columns).slice(place, 1).to_pylist()[0]
            place -= count
    raise IndexError(f"row {place} is past the end of {path.name}")


def safe_picture(stored: object) -> bytes | None:
    """Return a stored picture if it is a PNG and not too large, else None."""
    return _safe(stored, PNG, MOST_PICTURE_BYTES)


def safe_sound(stored: object) -> bytes | None:
    """Return a stored sound if it is a FLAC file and not too large, else None."""
    return _safe(stored, FLAC, MOST_SOUND_BYTES)


def _safe(stored: object, opening: bytes, most: int) -> bytes | None:
    fine = isinstance(stored, bytes) and stored.startswith(opening) and len(stored) <= most
    return stored if fine and isinstance(stored, bytes) else None
