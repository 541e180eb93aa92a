"""What is stored carries a digest of itself and of what it answers to; a changed bit anywhere is found on reading."""

import os
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from regap.analyses.tables.parquet_files import read_sealed_table, write_sealed_table
from regap.errors import StoreError
from regap.geometry.files import OPEN_SEAL, SEAL, check_whole, is_whole, opened_json, sealed, sealed_json
from regap.geometry.states.store import encoded_tensors

TEXT = f"a text that holds {SEAL.decode()} and {OPEN_SEAL.decode()}"


def as_parquet(folder: Path) -> bytes:
    return write_sealed_table(folder / "t.parquet", pa.table({"text": [TEXT], "n": [1.5]})).read_bytes()


def contents(folder: Path) -> dict[str, tuple[bytes, str]]:
    return {
        "json": (sealed_json({"text": TEXT, "n": 1.5}, "key"), "key"),
        "safetensors": (encoded_tensors({"t": torch.arange(6.0)}, {"text": TEXT}, "key"), "key"),
        "parquet": (as_parquet(folder), "t.parquet"),
    }


@pytest.mark.parametrize("kind", ["json", "safetensors", "parquet"])
def test_every_flipped_bit_and_every_cut_is_found(kind: str, tmp_path: Path) -> None:
    content, of = contents(tmp_path)[kind]
    assert is_whole(content, of)
    for place in range(len(content)):
        flipped = content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :]
        assert not is_whole(flipped, of), place
        assert not is_whole(content[:place], of), place


@pytest.mark.parametrize("kind", ["json", "safetensors", "parquet"])
def test_content_under_another_name_is_refused_and_equal_content_gives_equal_bytes(
    kind: str, tmp_path: Path
) -> None:
    content, of = contents(tmp_path)[kind]
    assert not is_whole(content, f"{of}2") and not is_whole(content)
    assert contents(tmp_path)[kind][0] == content


def test_a_text_that_looks_like_a_seal_is_read_as_it_was_written(tmp_path: Path) -> None:
    as_parquet(tmp_path)
    assert read_sealed_table(tmp_path / "t.parquet")["text"].tolist() == [TEXT]
    (tmp_path / "t.json").write_bytes(sealed_json({"text": TEXT}))
    assert opened_json(tmp_path / "t.json") == {"text": TEXT}


def test_a_file_is_checked_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(sealed_json({"n": 1}))
    check_whole(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1\n}", b"2\n}"))
    os.utime(path, ns=(0, 0))
    with pytest.raises(StoreError, match=r"is damaged: its digest does not match its content; make it again"):
        check_whole(path)


@pytest.mark.parametrize(
    ("content", "told"), [(None, "is missing; do that"), (b"", "is damaged"), (b"{}", "is damaged")]
)
def test_a_file_without_a_digest_is_refused_with_the_remedy(
    content: bytes | None, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=told):
        check_whole(path, remedy="do that")
    with pytest.raises(StoreError, match=told):
        opened_json(path, remedy="do that")


def test_numbers_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        sealed_json({"n": float("nan")})


def test_content_without_an_open_seal_cannot_be_sealed() -> None:
    with pytest.raises(ValueError, match="no open seal"):
        sealed(b"no seal")
