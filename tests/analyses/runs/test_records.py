"""A table that breaks its schema is never a record, and a record survives its file unchanged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from regap.analyses.runs.folder import write_json
from regap.analyses.runs.records import Interval, Record, RunRecords, Summary
from regap.analyses.tables.parquet_files import write_sealed_table
from regap.analyses.tables.schemas import SCHEMAS
from regap.errors import StoreError
from regap.geometry.files import write_whole


def outcomes(**changes: object) -> pd.DataFrame:
    row = {"model": "m", "condition": "baseline", "arm": "text", "measure": "utility"}
    return pd.DataFrame([{**row, "value": 0.5, "low": 0.4, "high": 0.6, "n": 10, **changes}])


def test_a_record_keeps_the_schemas_order_and_its_own_copy() -> None:
    table = outcomes()[["n", "value", "low", "high", "measure", "arm", "condition", "model"]]
    record = Record("outcomes", table)
    assert list(record.table.columns) == list(SCHEMAS["outcomes"].columns)
    table.loc[0, "value"] = 9.0
    assert record.table["value"].tolist() == [0.5]


def test_an_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"name='outcome' is not a table; choose one of .*'outcomes'"):
        Record("outcome", outcomes())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (outcomes().drop(columns="low"), r"missing \['low'\], unknown \[\]"),
        (outcomes(extra=1), r"missing \[\], unknown \['extra'\]"),
        (outcomes().iloc[:0], "has no rows"),
        (outcomes(low=0.55), r"row 0 low=0.55 lies above value=0.5"),
        (outcomes(high=0.45), r"row 0 value=0.5 lies above high=0.45"),
        (outcomes(value=np.nan, low=0.7), r"row 0 low=0.7 lies above high=0.6"),
        (outcomes(measure="asr"), r"'measure': unknown values \['asr'\]; use \['attack_success'"),
        (outcomes(n=1.5), r"'n': row 0 holds 1.5, which is not a whole number"),
        (outcomes(n=np.nan), r"'n': row 0 is empty"),
        (outcomes(value="high"), r"'value': not numbers"),
        (outcomes(arm=3), r"'arm': row 0 holds 3, which is not text"),
        (pd.concat([outcomes(), outcomes()]), r"row 1 repeats an earlier row's .*'measure': 'utility'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_words(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Record("outcomes", table)


def test_an_interval_may_be_unknown_or_touch_its_value() -> None:
    Record("outcomes", outcomes(low=np.nan, high=np.nan))
    Record("outcomes", outcomes(value=1.0, low=1.0, high=1.0))
    Record("outcomes", outcomes(value=1.0 + 1e-13, low=0.9, high=1.0))


def test_a_record_is_loaded_as_it_was_saved_and_equal_records_have_equal_bytes(tmp_path: Path) -> None:
    record = Record("outcomes", outcomes())
    first = record.save(tmp_path / "a").read_bytes()
    shuffled_columns = outcomes()[sorted(outcomes().columns)].astype({"n": float})
    assert Record("outcomes", shuffled_columns).save(tmp_path / "b").read_bytes() == first
    pd.testing.assert_frame_equal(Record.load(tmp_path / "a", "outcomes").table, record.table)
    assert [path.name for path in (tmp_path / "a" / "tables").iterdir()] == ["outcomes.parquet"]


def test_every_kind_of_column_survives_its_file(tmp_path: Path) -> None:
    row = {
        "model": "m",
        "condition": "c",
        "arm": "text",
        "pair_id": "p",
        "text": "",
        "tokens": 3,
        "finished": True,
        "first_token": 7,
    }
    record = Record("completions", pd.DataFrame([row, {**row, "pair_id": "q", "finished": False}]))
    record.save(tmp_path)
    loaded = Record.load(tmp_path, "completions").table
    pd.testing.assert_frame_equal(loaded, record.table)
    assert loaded["finished"].tolist() == [True, False]


def test_a_missing_table_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no table 'strength'.*`regap run`.*'drift_causes'"):
        Record.load(tmp_path, "strength")
    for name, command in (("ablation", "ablate"), ("utility", "utility"), ("agreement", "judge")):
        with pytest.raises(FileNotFoundError, match=f"`regap {command} RUN` makes it"):
            Record.load(tmp_path, name)


def test_where_selects_the_rows_that_equal_all() -> None:
    record = Record("outcomes", pd.concat([outcomes(), outcomes(arm="blank")]))
    assert record.where(arm="blank", measure="utility")["arm"].tolist() == ["blank"]
    assert record.where(arm="noise").empty


def test_a_run_loads_what_is_there_and_says_why_the_rest_is_not(tmp_path: Path) -> None:
    Record("outcomes", outcomes()).save(tmp_path)
    write_sealed_table(tmp_path / "tables" / "adaptive.parquet", pa.Table.from_pandas(outcomes()))
    (tmp_path / "tables" / "strength.parquet").write_bytes(b"not a table")
    run = RunRecords.load(tmp_path)
    assert set(run.records) == {"outcomes"}
    assert "wrong columns" in run.unreadable["adaptive"]
    assert "strength" in run.unreadable
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        RunRecords.load(tmp_path / "elsewhere")


def test_the_summary_is_read_by_path(tmp_path: Path) -> None:
    number = {"value": 0.5, "low": 0.4, "high": None, "n": 10}
    content = {"model": "m", "layer": 6, "outcomes": {"baseline": {"text": {"utility": number}}}}
    write_json(tmp_path / "summary.json", content)
    summary = Summary.load(tmp_path)
    assert (summary.model, summary.layer) == ("m", 6)
    assert summary.interval("outcomes", "baseline", "text", "utility") == Interval(0.5, 0.4, None, 10)
    assert summary.interval("outcomes", "regap", "text", "utility") is None
    assert Summary.load(tmp_path / "elsewhere").model is None
    (tmp_path / "summary.json").write_text("[1]")
    with pytest.raises(StoreError, match="is damaged: its digest does not match"):
        Summary.load(tmp_path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "folder" / "file", b"old")
    with pytest.raises(TypeError):
        write_whole(path, "not bytes")  # pyright: ignore[reportArgumentType]
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
