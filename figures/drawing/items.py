"""Coordinates of every prompt at every layer, as arrays with fast access to one layer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from regap.analyses.tables.parquet_files import columns_in, read_sealed_table

NEEDED = ("pair_id", "label", "arm", "layer", "refusal", "drift")
GIVEN = {"model": "", "condition": "baseline", "split": "test", "category": ""}
"""Columns that old runs may lack, and their default values."""
IDENTITY = ("arm", "condition", "pair_id")


@dataclass(frozen=True, eq=False)
class Items:
    """One item per row: a prompt in one arm under one condition, with its coordinates at every layer."""

    rows: pd.DataFrame = field(repr=False)
    """pair_id, arm, condition, label, category, split: categorical columns."""
    layers: tuple[int, ...]
    refusal: np.ndarray = field(repr=False)
    """z, [layer, item], float32; NaN where a layer is missing."""
    drift: np.ndarray = field(repr=False)
    """The drift strength δ, like `refusal`."""

    def __post_init__(self) -> None:
        shape = (len(self.layers), len(self.rows))
        if self.refusal.shape != shape or self.drift.shape != shape:
            raise ValueError(f"coordinates of {self.refusal.shape} do not fit {shape} layers and items")

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, layer: int) -> int:
        """Return the index of a layer in the arrays; that of the nearest layer if it was not read."""
        return int(np.argmin(np.abs(np.array(self.layers) - layer)))

    def of(self, pair_id: str) -> pd.DataFrame:
        """Return the rows of one pair; their index is their place in the arrays."""
        return self.rows[self.rows["pair_id"] == pair_id]


def read_items(path: Path, model: str | None = None) -> Items:
    """Return the items of a model in a file of coordinates; by default of the first model in the file.

    Strings are read as dictionary codes, so that three million rows take about a second. Raises ValueError for a file
    that lacks a column or has no rows.
    """
    known = columns_in(path)
    checked_columns(path, NEEDED)
    texts = [name for name in (*NEEDED[:3], *GIVEN) if name in known]
    numbers = ["layer", "refusal", "drift"]
    table = read_sealed_table(path, [*texts, *numbers], read_dictionary=texts)
    for column, value in GIVEN.items():
        if column not in table:
            table[column] = pd.Categorical.from_codes(np.zeros(len(table), np.int8), [value])
    if table.empty:
        raise ValueError("table 'coordinates' has no rows; run the run's command again")
    models = table["model"].unique()
    return items_of(table, str(model if model in models else models[0]))


def checked_columns(path: Path, columns: Iterable[str]) -> list[str]:
    """Return the columns; raises ValueError, with their names, for those that a parquet file lacks."""
    wanted, known = list(columns), columns_in(path)
    if missing := [name for name in wanted if name not in known]:
        raise ValueError(f"{path.name} has no column {', '.join(missing)}; run the run's command again")
    return wanted


def items_of(table: pd.DataFrame, model: str) -> Items:
    """The items of one model in a table of coordinates."""
    if table["model"].nunique() > 1:
        table = table[table["model"] == model]
    texts = [name for name in (*NEEDED[:3], *GIVEN) if not isinstance(table[name].dtype, pd.CategoricalDtype)]
    table = table.astype(dict.fromkeys(texts, "category")) if texts else table
    return regular(table) or scattered(table)


def regular(table: pd.DataFrame) -> Items | None:
    """Return the items of a table sorted by item with all layers, as runs write it; None for any other table."""
    layers = table["layer"].to_numpy()
    count = len(np.unique(layers))
    if len(layers) % count or not (layers.reshape(-1, count) == layers[:count]).all():
        return None
    codes = identities(table).reshape(-1, count)
    if not (codes == codes[:, :1]).all() or len(np.unique(codes[:, 0])) < len(codes):
        return None
    order = np.argsort(layers[:count])
    arrays = [
        np.ascontiguousarray(table[name].to_numpy(np.float32).reshape(-1, count).T[order])
        for name in ("refusal", "drift")
    ]
    return Items(facts(table.iloc[::count]), tuple(layers[:count][order].tolist()), *arrays)


def scattered(table: pd.DataFrame) -> Items:
    """Return the items of a table in any order, in which layers may be missing."""
    layers, at = np.unique(table["layer"].to_numpy(), return_inverse=True)
    _, first, item = np.unique(identities(table), return_index=True, return_inverse=True)
    arrays = []
    for name in ("refusal", "drift"):
        filled = np.full((len(layers), len(first)), np.nan, np.float32)
        filled[at, item] = table[name].to_numpy(np.float32)
        arrays.append(filled)
    return Items(facts(table.iloc[first]), tuple(layers.tolist()), *arrays)


def identities(table: pd.DataFrame) -> np.ndarray:
    """One number for each arm, condition and pair."""
    code = np.zeros(len(table), np.int64)
    for column in IDENTITY:
        values = table[column].cat
        code = code * len(values.categories) + values.codes.to_numpy(np.int64)
    return code


def facts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of each item other than its coordinates."""
    columns = ["pair_id", "arm", "condition", "label", "category", "split"]
    return rows[columns].reset_index(drop=True)


@lru_cache(maxsize=4)
def ranks(count: int) -> np.ndarray:
    """Return a fixed random order of `count` items; the first ones are a random sample."""
    return np.random.default_rng(0).permutation(count)


def thinned(places: np.ndarray, groups: np.ndarray, count: int, most: int) -> np.ndarray:
    """Return at most about `most` of these places, a fixed random sample in proportion to the groups.

    places: positions of items, of `count` in all. groups: the group of each place.
    """
    if len(places) <= most:
        return places
    order = ranks(count)[places]
    kept = []
    for group in np.unique(groups):
        inside = np.flatnonzero(groups == group)
        share = max(1, most * len(inside) // len(places))
        lowest = np.argpartition(order[inside], min(share, len(inside) - 1))[:share]
        kept.append(places[inside[lowest]])
    return np.sort(np.concatenate(kept))
