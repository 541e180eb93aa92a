"""Schemas of tables (columns, key and intervals), and checks that a table fits its schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column; `values` lists the allowed values if they are few; an optional column may have gaps.

    A gap is NaN in a number column, an empty string in a text column, and -1 in an integer column, which starts at 0.
    """

    kind: Literal["text", "integer", "number", "boolean"]
    values: tuple[str, ...] = ()
    optional: bool = False


Triples = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Schema:
    """The columns of one table, the columns that identify a row, and its (value, low, high) triples."""

    columns: Mapping[str, Column]
    key: tuple[str, ...]
    analysis: str
    intervals: Triples = ()


TEXT, INTEGER, BOOLEAN = Column("text"), Column("integer"), Column("boolean")
NUMBER, GAP = Column("number"), Column("number", optional=True)
LABEL = Column("text", ("harmful", "harmless"))
VECTOR = Column("text", ("D", "D_along", "D_across", "D_harmful", "random", "shuffled", "refusal"))
VERDICT = Column("text", ("refused", "complied", "degenerate", "misread", "not_judged"))
CLAIM_VERDICT = Column("text", ("holds", "does not hold", "unclear"))
LEVEL = Column("text", ("arm", "model", "bin"))
ESTIMATE = {"value": GAP, "low": GAP, "high": GAP, "n": INTEGER}
TRIPLE = (("value", "low", "high"),)
NOTHING: Mapping[str, Column] = {}


def one_of(*values: str) -> Column:
    """Return a text column that holds only these values."""
    return Column("text", values)


def estimates(
    analysis: str, more: Mapping[str, Column] = NOTHING, triples: Triples = (), **key: Column
) -> Schema:
    """Return the schema of a table with one estimate per row: the key columns, then value, low, high, n.

    more: further columns; triples: further intervals.
    """
    return Schema({**key, **ESTIMATE, **more}, tuple(key), analysis, (*TRIPLE, *triples))


def keyed(analysis: str, more: Mapping[str, Column], triples: Triples = (), **key: Column) -> Schema:
    """Return the schema of a table with the key columns first."""
    return Schema({**key, **more}, tuple(key), analysis, triples)


def claims_of(analysis: str) -> Schema:
    """Return the schema of a table of claims, with one row a claim."""
    columns = {
        "claim": one_of("collapse", "drift_predicts", "drift_causes", "self_rectification", "regap"),
        "title": TEXT,
        "verdict": CLAIM_VERDICT,
        "criterion": TEXT,
        "version": INTEGER,
        "evidence": TEXT,
    }
    return Schema({**columns, **ESTIMATE}, ("claim",), analysis, TRIPLE)


SEPARABILITY = ("gap", "d_prime", "auroc", "usable")
OUTCOMES = ("attack_success", "over_refusal", "refusal", "utility")
UTILITY = (
    *("accuracy", "accuracy_plus", "score", "circular_accuracy"),
    *("precision", "recall", "f1", "yes_share", "unread", "refused"),
)
DEGENERATE = (
    *("degenerate_harmful", "degenerate_harmless", "misread_harmful", "misread_harmless", "not_judged"),
)


def conform(name: str, schema: Schema, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its schema's column order and types; raises ValueError if it does not fit."""
    check_columns(name, schema, table)
    if table.empty:
        raise ValueError(f"table {name!r} has no rows; leave an empty table out")
    columns = {
        column: typed(name, column, kind, pd.Series(table[column])) for column, kind in schema.columns.items()
    }
    result = pd.DataFrame(columns).reset_index(drop=True)
    check_key(name, schema, result)
    for value, low, high in schema.intervals:
        check_interval(name, result, value, low, high)
    return result


def check_columns(name: str, schema: Schema, table: pd.DataFrame) -> None:
    """Raise ValueError unless the table has exactly the schema's columns, in any order."""
    missing = [column for column in schema.columns if column not in table.columns]
    unknown = [str(column) for column in table.columns if column not in schema.columns]
    if missing or unknown:
        raise ValueError(
            f"table {name!r} has the wrong columns: missing {missing}, unknown {unknown}; "
            f"it needs exactly {list(schema.columns)}"
        )


def typed(name: str, column: str, kind: Column, values: pd.Series) -> np.ndarray:
    """Return the column's values in a numpy array of float64, int64, bool or str objects."""
    where = f"table {name!r}, column {column!r}"
    if not kind.optional and values.isna().any():
        raise ValueError(f"{where}: row {first(values.isna())} is empty; every row needs a value")
    if kind.kind == "text":
        return text_values(where, kind, values)
    try:
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: not numbers ({error})") from None
    if kind.kind == "number":
        return numbers
    if kind.kind == "integer" and kind.optional:
        numbers = np.where(np.isnan(numbers), -1, numbers)
    fraction = ~np.isfinite(numbers) | (np.floor(numbers) != numbers)
    if fraction.any():
        row = first(fraction)
        raise ValueError(f"{where}: row {row} holds {numbers[row]}, which is not a whole number")
    whole = numbers.astype(np.int64)
    return whole.astype(bool) if kind.kind == "boolean" else whole


def text_values(where: str, kind: Column, values: pd.Series) -> np.ndarray:
    """Return the column as str objects, with gaps as empty strings; raises ValueError for values not allowed."""
    texts = np.array(["" if gap else text for gap, text in zip(values.isna(), values, strict=True)], object)
    wrong = [not isinstance(text, str) for text in texts]
    if any(wrong):
        raise ValueError(f"{where}: row {first(wrong)} holds {texts[first(wrong)]!r}, which is not text")
    unknown = sorted(set(texts) - set(kind.values)) if kind.values else []
    if unknown:
        raise ValueError(f"{where}: unknown values {unknown}; use {list(kind.values)}")
    return texts


def check_key(name: str, schema: Schema, table: pd.DataFrame) -> None:
    """Raise ValueError if two rows have the same key."""
    repeated = table.duplicated(list(schema.key))
    if repeated.any():
        row = first(repeated)
        same = {column: table[column].iloc[row] for column in schema.key}
        raise ValueError(f"table {name!r}: row {row} repeats an earlier row's {same}; give one row for each")


def check_interval(name: str, table: pd.DataFrame, value: str, low: str, high: str) -> None:
    """Raise ValueError unless low <= value <= high, up to rounding, for those that are finite."""
    for below, above in ((low, value), (value, high), (low, high)):
        slack = 1e-9 * (1 + table[above].abs())
        wrong = np.isfinite(table[below]) & np.isfinite(table[above]) & (table[below] > table[above] + slack)
        if wrong.any():
            row = first(wrong)
            raise ValueError(
                f"table {name!r}: in row {row} {below}={table[below].iloc[row]:.6g} lies above "
                f"{above}={table[above].iloc[row]:.6g}; make it {low} <= {value} <= {high}"
            )


def first(flags: object) -> int:
    """Return the index of the first true flag."""
    return int(np.argmax(np.asarray(flags)))
