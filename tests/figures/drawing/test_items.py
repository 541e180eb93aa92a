"""Coordinates come out of a table as they went in, whatever its order, gaps and age."""

from pathlib import Path

import hostile_run as made
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from regap.analyses.tables.parquet_files import write_sealed_table
from regap.figures.drawing.items import Items, read_items


def written(table: pd.DataFrame, folder: Path) -> Path:
    path = folder / "coordinates.parquet"
    write_sealed_table(path, pa.Table.from_pandas(table))
    return path


def as_long(items: Items) -> pd.DataFrame:
    """The items as the table they came from, in one order."""
    parts = [
        items.rows.astype(str).assign(layer=layer, refusal=items.refusal[at], drift=items.drift[at])
        for at, layer in enumerate(items.layers)
    ]
    long = pd.concat(parts).dropna(subset=["refusal"])
    return long.sort_values(["pair_id", "arm", "condition", "layer"]).reset_index(drop=True)


def same(items: Items, table: pd.DataFrame) -> bool:
    expected = table.sort_values(["pair_id", "arm", "condition", "layer"]).reset_index(drop=True)
    found = as_long(items)
    named = ["pair_id", "arm", "condition", "label", "category", "layer"]
    return (
        len(found) == len(expected)
        and (found[named].astype(str) == expected[named].astype(str)).all(axis=None)
        and np.allclose(found[["refusal", "drift"]], expected[["refusal", "drift"]], rtol=1e-6)
    )


@pytest.mark.parametrize("order", ["as written", "shuffled", "with gaps"])
def test_the_arrays_hold_what_the_table_says(tmp_path: Path, order: str) -> None:
    table = made.coordinates()
    if order != "as written":
        table = table.sample(frac=1 if order == "shuffled" else 0.7, random_state=0)
    items = read_items(written(table, tmp_path))
    assert same(items, table)
    assert not same(items, table.assign(refusal=table["refusal"] + 1))  # the comparison can fail
    assert np.isnan(items.refusal).any() == (order == "with gaps")


def test_an_old_table_without_conditions_and_splits_is_read(tmp_path: Path) -> None:
    table = made.coordinates().query("condition == 'baseline'")
    old = table.drop(columns=["model", "condition", "split", "category"])
    items = read_items(written(old, tmp_path))
    assert set(items.rows["condition"]) == {"baseline"} and len(items) == len(made.IDS) * len(made.ARMS)


def test_a_table_without_coordinates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no column refusal, drift"):
        read_items(written(made.coordinates().drop(columns=["refusal", "drift"]), tmp_path))
    with pytest.raises(ValueError, match="no rows"):
        read_items(written(made.coordinates().head(0), tmp_path))


def test_of_two_models_the_run_s_own_is_read(tmp_path: Path) -> None:
    both = pd.concat([made.coordinates(), made.coordinates().assign(model="other", refusal=-1.0)])
    assert read_items(written(both, tmp_path), "other").refusal.max() == -1.0
    assert read_items(written(both, tmp_path)).refusal.max() > 0
