"""Tables in parquet files that carry their digest, which is checked when they are read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

from regap.errors import StoreError, first_line
from regap.geometry.files import OPEN_SEAL, check_whole, sealed, write_whole

AGAIN = "run the command that made it again"


def write_sealed_table(path: Path, table: pa.Table, **options: Any) -> Path:
    """Write a table whole or not at all, with its digest; equal tables give equal bytes.

    The digest also covers the name of the file. `options` are those of pyarrow's `write_table`.
    """
    sink = pa.BufferOutputStream()
    bare = table.replace_schema_metadata({"digest": OPEN_SEAL})
    parquet.write_table(bare, sink, compression="zstd", **options)
    return write_whole(path, sealed(sink.getvalue().to_pybytes(), path.name))


def columns_in(path: Path) -> tuple[str, ...]:
    """Return the names of the columns in a file of `write_sealed_table`; raises StoreError for a damaged one."""
    check_whole(path, path.name, AGAIN)
    return tuple(parquet.read_schema(path).names)


def read_sealed_table(path: Path, columns: Sequence[str] | None = None, **options: Any) -> pd.DataFrame:
    """Return these columns of a file of `write_sealed_table`, by default all.

    Raises StoreError if it is missing or damaged. `options` are those of pyarrow's `read_table`.
    """
    check_whole(path, path.name, AGAIN)
    try:
        return parquet.read_table(path, columns=columns and list(columns), **options).to_pandas()
    except (pa.ArrowException, OSError) as error:  # the digest is right, so the file was written so
        raise StoreError(f"{path} cannot be read ({first_line(error)}); {AGAIN}") from None
