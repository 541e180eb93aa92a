"""What was asked: requests, rendered prompts and pictures, as prompts.parquet keeps them."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow.parquet as parquet

PNG = b"\x89PNG\r\n\x1a\n"
MOST_PICTURE_BYTES = 400_000


@dataclass(frozen=True)
class Asked:
    """One prompt: empty texts and no picture where the run does not keep them."""

    request: str = ""
    rendered: str = ""
    answer: str = ""
    picture: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of a run: requests in memory, everything else read for the one that is asked for."""

    path: Path
    columns: tuple[str, ...]
    requests: pd.Series = field(repr=False)
    """By pair_id."""

    @classmethod
    def of(cls, path: Path) -> "Prompts":
        """The prompts in a file; none if it is not there or names no pairs."""
        columns = tuple(parquet.read_schema(path).names) if path.is_file() else ()
        if not {"pair_id", "arm", "request"} <= set(columns):
            return cls(path, (), pd.Series(dtype=object))
        table = parquet.read_table(path, columns=["pair_id", "request"]).to_pandas()
        requests = table.drop_duplicates("pair_id").set_index("pair_id")["request"]
        return cls(path, columns, requests)

    def one(self, pair_id: str, arm: str) -> Asked:
        """The prompt of a pair in an arm; an empty one if the run does not keep it."""
        wanted = [name for name in ("request", "answer", "prompt", "image_png") if name in self.columns]
        if not wanted:
            return Asked()
        where = [("pair_id", "==", pair_id), ("arm", "==", arm)]
        rows = parquet.read_table(self.path, columns=wanted, filters=where).to_pylist()
        if not rows:
            return Asked(request=str(self.requests.get(pair_id, "")))
        row = rows[0]
        return Asked(
            row["request"] or "", row.get("prompt") or "", row.get("answer") or "", safe(row.get("image_png"))
        )


def safe(image: object) -> bytes | None:
    """The picture if it is a PNG of bearable size; nothing else is ever shown."""
    fine = isinstance(image, bytes) and image.startswith(PNG) and len(image) <= MOST_PICTURE_BYTES
    return image if fine and isinstance(image, bytes) else None
