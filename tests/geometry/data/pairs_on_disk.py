"""Files of pairs, written by hand, and the line with which one is refused."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from regap.errors import PairError
from regap.geometry.data.pair_files import read_pairs

Row = dict[str, Any]
TEXT: Row = {"pair_id": "p", "arm": "text", "label": "harmful", "request": "a request", "text": "a request"}
SHOWN: Row = TEXT | {"arm": "typographic", "text": "do <image> now", "image": "red.png"}


def png(color: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


def written(
    folder: Path, rows: list[Row], kind: str = "csv", files: Mapping[str, bytes] | None = None
) -> Path:
    """Write rows as a file of this kind, beside other files; by default the picture of SHOWN."""
    path = folder / f"pairs.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    elif kind == "csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        pd.DataFrame(rows).to_parquet(path, index=False)
    for name, content in ({"red.png": png()} if files is None else files).items():
        (folder / name).write_bytes(content)
    return path


def refusal(path: Path) -> str:
    """The message with which the file is refused, all of it in one line."""
    with pytest.raises(PairError) as caught:
        read_pairs(path)
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    return message
