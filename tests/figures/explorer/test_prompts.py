"""One prompt is read from its own row group alone."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from regap.analyses.tables.parquet_files import write_sealed_table
from regap.figures.explorer import detail
from regap.figures.explorer.run.prompts import FLAC, MOST_SOUND_BYTES, PNG, Prompts


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    rows = [
        {"pair_id": f"p{place}", "arm": arm, "request": f"r{place}", "prompt": f"{arm} {place}"}
        | {"answer": None, "image_png": PNG + bytes([place]) * 50 if arm == "picture" else None}
        for place in range(30)
        for arm in ("text", "picture")
    ]
    path = tmp_path / "prompts.parquet"
    write_sealed_table(path, pa.Table.from_pandas(pd.DataFrame(rows)), row_group_size=7)
    return path


def test_each_prompt_is_found_in_whichever_group_it_is(kept: Path) -> None:
    prompts = Prompts.of(kept)
    for place in range(30):
        asked = prompts.one(f"p{place}", "picture")
        assert (asked.request, asked.rendered, asked.picture) == (
            f"r{place}",
            f"picture {place}",
            PNG + bytes([place]) * 50,
        )
        assert prompts.one(f"p{place}", "text").picture is None
    assert prompts.one("p3", "nowhere").request == "r3" and prompts.one("nobody", "text").request == ""


def test_no_other_group_is_read(kept: Path) -> None:
    """Pictures of the first group are damaged: who asks for one fails, and nobody else notices."""
    prompts = Prompts.of(kept)
    metadata = parquet.read_metadata(kept)
    column = metadata.row_group(0).column(metadata.schema.names.index("image_png"))
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(kept.read_bytes())
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    kept.write_bytes(content)
    assert prompts.one("p29", "picture").picture
    with pytest.raises(OSError):
        prompts.one("p0", "picture")


def test_a_sound_is_given_only_if_it_is_a_flac_file_of_a_usable_size(tmp_path: Path) -> None:
    sounds = {
        "fine": FLAC + b"1" * 50,
        "html": b"<script>",
        "long": FLAC + b"1" * MOST_SOUND_BYTES,
        "none": None,
    }
    rows = [
        {"pair_id": name, "arm": "speech", "request": "r", "audio_flac": sound}
        for name, sound in sounds.items()
    ]
    write_sealed_table(tmp_path / "prompts.parquet", pa.Table.from_pandas(pd.DataFrame(rows)))
    prompts = Prompts.of(tmp_path / "prompts.parquet")
    assert prompts.one("fine", "speech").sound == sounds["fine"]
    assert all(prompts.one(name, "speech").sound is None for name in ("html", "long", "none"))
    (player,) = [detail.picture(prompts.one("fine", "speech"))]
    assert type(player).__name__ == "Audio" and player.src.startswith("data:audio/flac;base64,")
