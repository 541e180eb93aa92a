"""Every cell of a file is what was written in it, and what cannot be read is named with its place and the remedy."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regap.errors import LONGEST, PairError, one_line
from regap.geometry.data import outside_files, table_files
from regap.geometry.data.benchmarks.source import BenchmarkFiles
from regap.geometry.data.outside_files import Unreadable
from regap.geometry.data.pair_files import read_pairs
from regap.geometry.data.table_files import frame_rows, read_table

HEADER = "pair_id,label,text\n"
NUMBERS = ["7", "007", "1234567890123456789", "1.0", "1.10", "1e5", "-0", "12345678901234567890123"]


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(path: Path) -> str:
    with pytest.raises(Unreadable) as caught:
        read_table(path)
    return str(caught.value)


@pytest.mark.parametrize("number", [each for each in NUMBERS if each != "007"])
def test_a_number_in_jsonl_keeps_its_digits_beside_a_gap(number: str, tmp_path: Path) -> None:
    path = file(tmp_path, "a.jsonl", f'{{"id": {number}}}\n{{"id": null}}\n{{"other": 1}}\n')
    assert [row.get("id") for row in read_table(path)] == [number, None, None]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_in_csv_is_its_digits(number: str, tmp_path: Path) -> None:
    assert read_table(file(tmp_path, "a.csv", f"id,x\n{number},\n,1\n"))[0] == {"id": number, "x": ""}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array([1234567890123456789, None], dtype="Int64"), ["1234567890123456789", None]),
        ([1.0, None], ["1", None]),  # how pandas keeps whole numbers with gaps
        ([1.0, 2.0], ["1.0", "2.0"]),
        ([0.1, None], ["0.1", None]),
        (np.array([0.1, 2], np.float32), ["0.1", "2.0"]),
        (["01", None], ["01", None]),
    ],
)
def test_numbers_in_parquet_and_in_a_table_of_pandas(column: Any, expected: list, tmp_path: Path) -> None:
    table = pd.DataFrame({"id": column})
    table.to_parquet(tmp_path / "a.parquet")
    assert [row["id"] for row in read_table(tmp_path / "a.parquet")] == expected
    assert [row["id"] for row in frame_rows(table)] == expected


def test_whole_numbers_that_lost_digits_to_a_gap_are_refused(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [1234567890123456789, None]})
    table.to_parquet(tmp_path / "a.parquet")
    for read in (lambda: read_table(tmp_path / "a.parquet"), lambda: frame_rows(table)):
        with pytest.raises(Unreadable, match="has lost digits in a column with gaps; store it as text"):
            read()


def test_right_answers_are_as_written_when_one_is_missing(tmp_path: Path) -> None:
    rows = [{"id": str(n), "label": "harmless", "text": f"q{n}", "answer": n} for n in (1, 2)]
    rows.append({"id": "3", "label": "harmless", "text": "q3"})
    path = file(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert [pair.answer for pair in read_pairs(path)] == ["1", "2", None]


def test_long_cluster_numbers_with_a_gap_stay_apart(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "label": "harmless", "text": f"q{n}", "cluster": 1234567890123456780 + n}
        for n in range(3)
    ]
    del rows[2]["cluster"]
    path = file(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert len({pair.cluster for pair in read_pairs(path)}) == 3


@pytest.mark.parametrize("ending", [".CSV", ".csv", ".tsv"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_endings(ending: str, separator: str, tmp_path: Path) -> None:
    text = HEADER.replace(",", separator) + separator.join(["p", "harmful", '"a, ""b""; c\td\r\ne"']) + "\n"
    (row,) = read_table(file(tmp_path, f"a{ending}", text))
    assert row == {"pair_id": "p", "label": "harmful", "text": 'a, "b"; c\td\r\ne'}


@pytest.mark.parametrize("name", ["a.csv", "a.JSONL"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_no_part_of_the_text(name: str, encoding: str, tmp_path: Path) -> None:
    text = "id,text\n1,é\n" if name == "a.csv" else '{"id": 1, "text": "é"}\n'
    assert read_table(file(tmp_path, name, text.encode(encoding))) == [{"id": "1", "text": "é"}]


def test_commas_at_the_end_shift_nothing(tmp_path: Path) -> None:
    expected = [{"pair_id": "p", "label": "harmful", "text": "a"}]
    assert read_table(file(tmp_path, "a.csv", f"{HEADER}p,harmful,a,,\n")) == expected
    assert read_table(file(tmp_path, "b.csv", "pair_id,label,text,\np,harmful,a,\n")) == expected


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.csv", f"{HEADER}p,harmful\n", "row 1 has 2 cells, and the first row 3; quote cells"),
        ("a.csv", f"{HEADER}p,harmful,a, b\n", "row 1 has 4 cells, and the first row 3; quote cells"),
        ("a.csv", f'{HEADER}p,harmful,"a\n', "not a valid csv file"),
        ("a.csv", "id,id\n1,2\n", "has the column 'id' twice; rename or remove"),
        ("a.csv", "id,text\n1,\xe9\n".encode("cp1252"), "line 2 is not in UTF-8 (byte 0xe9); it may be in"),
        ("a.csv", "id,text\n1,a\n".encode("utf-16-le"), "looks like UTF-16 without a byte order mark"),
        ("a.jsonl", '{"id": 1}\n[1]\n', "line 2 is a list); write one object a line"),
        ("a.jsonl", '{"id": 1, "id": 2}\n', "line 1: the name 'id' occurs twice"),
        ("a.jsonl", '{"id": Infinity}\n', "Infinity is no value of JSON"),
        ("a.jsonl", "[" * 100_000, "nested too deeply"),
        ("a.xlsx", "", "the ending '.xlsx' is not supported; use .csv, .jsonl, .parquet, .tsv"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, content: str | bytes, why: str, tmp_path: Path) -> None:
    assert why in refused(file(tmp_path, name, content))


def test_the_number_of_rows_is_known_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pd.DataFrame({"id": ["a"] * 11}).to_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(table_files, "MOST_ROWS", 11)
    assert len(read_table(tmp_path / "a.parquet")) == 11
    monkeypatch.setattr(table_files, "MOST_ROWS", 10)
    monkeypatch.setattr(table_files.parquet.ParquetFile, "iter_batches", None)  # nothing may be read
    assert "it has 11 rows, and at most 10 are read" in refused(tmp_path / "a.parquet")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_pipe, _device])
@pytest.mark.parametrize("ending", table_files.KINDS)
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(
    make: Callable[[Path], None], ending: str, tmp_path: Path
) -> None:
    make(tmp_path / f"a{ending}")
    assert "a pipe or a device, not a file" in refused(tmp_path / f"a{ending}")


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "x" * 100)
    assert len(outside_files.bytes_of(path, 100)) == 100
    with pytest.raises(Unreadable, match="it has 100 bytes, and at most 99 are read"):
        outside_files.bytes_of(path, 99)


def test_benchmarks_are_read_by_the_same_rules(tmp_path: Path) -> None:
    source = BenchmarkFiles("it", tmp_path)
    file(tmp_path, "a.json", '[{"id": 1234567890123456789, "x": 1.10}, {"id": null, "x": {"a": 1}}]')
    first, second = source.rows(tmp_path / "a.json")
    assert (first.text("id"), first.text("x"), second.get("id")) == ("1234567890123456789", "1.10", "")
    with pytest.raises(PairError, match=r"it: a.json, row 2: x is .*, an object, not text; write it as text"):
        second.text("x")
    (short,) = source.rows(file(tmp_path, "b.csv", 'a,b,c\n"x"y,2\n'))
    assert (short.text("a"), short.text("b"), short.get("c")) == ("xy", "2", "")


def test_a_message_is_one_safe_line_whatever_it_holds() -> None:
    told = str(PairError("a\nb\r\n\x1b[31m\u202e" + "x" * 5_000 + "; write it again"))
    assert told.startswith(r"a b \x1b[31m\u202e") and told.endswith("; write it again")
    assert len(told) == LONGEST and told.isprintable()
    assert one_line("plain: 日本語 😀") == "plain: 日本語 😀"
