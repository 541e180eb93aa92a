"""What each table of a run holds: its columns, its key, its intervals and the analysis that makes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Column:
    """What one column holds; `values` names them all when they are few; an optional column may have gaps."""

    kind: Literal["text", "integer", "number", "boolean"]
    values: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Schema:
    """The columns of one table, the columns no two rows share, and its (value, low, high) triples."""

    columns: Mapping[str, Column]
    key: tuple[str, ...]
    analysis: str
    intervals: tuple[tuple[str, str, str], ...] = ()


TEXT, INTEGER, BOOLEAN = Column("text"), Column("integer"), Column("boolean")
NUMBER, GAP = Column("number"), Column("number", optional=True)
LABEL = Column("text", ("harmful", "harmless"))
VECTOR = Column("text", ("D", "D_along", "D_across", "random", "shuffled", "refusal"))
VERDICT = Column("text", ("refused", "complied", "degenerate", "not_judged"))
LEVEL = Column("text", ("arm", "model", "bin"))
ESTIMATE = {"value": GAP, "low": GAP, "high": GAP, "n": INTEGER}
TRIPLE = (("value", "low", "high"),)


def one_of(*values: str) -> Column:
    """A text column that holds only these values."""
    return Column("text", values)


def estimates(analysis: str, **key: Column) -> Schema:
    """A table with one estimate a row: the key columns, then value, low, high, n."""
    return Schema({**key, **ESTIMATE}, tuple(key), analysis, TRIPLE)


SEPARABILITY = ("gap", "d_prime", "auroc", "usable")
OUTCOMES = ("attack_success", "over_refusal", "refusal", "utility")
UTILITY = (
    *("accuracy", "accuracy_plus", "score", "circular_accuracy"),
    *("precision", "recall", "f1", "yes_share", "unread", "refused"),
)
DEGENERATE = ("degenerate_harmful", "degenerate_harmless", "not_judged")

SCHEMAS: Mapping[str, Schema] = {
    "separability": estimates(
        "collapse",
        model=TEXT,
        arm=TEXT,
        condition=TEXT,
        direction=one_of("refusal", "probe_text", "probe_image"),
        layer=INTEGER,
        measure=one_of(*SEPARABILITY),
    ),
    "drift": estimates(
        "collapse",
        model=TEXT,
        arm=TEXT,
        layer=INTEGER,
        measure=one_of("norm", "relative_norm", "norm_along", "norm_across", "cosine", "class_norm"),
    ),
    "coordinates": Schema(
        {
            **dict.fromkeys(("model", "pair_id"), TEXT),
            "label": LABEL,
            "category": TEXT,
            "split": one_of("calibration", "test"),
            **dict.fromkeys(("arm", "condition"), TEXT),
            "layer": INTEGER,
            **dict.fromkeys(("refusal", "drift"), NUMBER),
        },
        ("model", "pair_id", "arm", "condition", "layer"),
        "collapse",
    ),
    "completions": Schema(
        {
            **dict.fromkeys(("model", "condition", "arm", "pair_id", "text"), TEXT),
            "tokens": INTEGER,
            "finished": BOOLEAN,
            "first_token": INTEGER,
        },
        ("model", "condition", "arm", "pair_id"),
        "outcomes",
    ),
    "verdicts": Schema(
        {
            **dict.fromkeys(("model", "condition", "arm", "pair_id"), TEXT),
            "label": LABEL,
            "judge": TEXT,
            "verdict": VERDICT,
            "reason": Column("text", optional=True),
        },
        ("model", "condition", "arm", "pair_id", "judge"),
        "outcomes",
    ),
    "outcomes": estimates(
        "outcomes", model=TEXT, condition=TEXT, arm=TEXT, measure=one_of(*OUTCOMES, *DEGENERATE)
    ),
    "first_token": Schema(
        {
            **dict.fromkeys(("model", "condition", "arm", "pair_id"), TEXT),
            "label": LABEL,
            "log_odds": NUMBER,
        },
        ("model", "condition", "arm", "pair_id"),
        "judge",
    ),
    "agreement": estimates(
        "judge",
        **dict.fromkeys(("model", "condition", "arm"), TEXT),
        label=one_of("all", "harmful", "harmless"),
        first=TEXT,
        second=TEXT,
        measure=one_of("kappa", "agreement"),
    ),
    "disagreements": Schema(
        {
            **dict.fromkeys(("model", "condition", "arm", "pair_id"), TEXT),
            "label": LABEL,
            **dict.fromkeys(("first", "second"), TEXT),
            **dict.fromkeys(("first_verdict", "second_verdict"), VERDICT),
            **dict.fromkeys(("first_reason", "second_reason"), Column("text", optional=True)),
        },
        ("model", "condition", "arm", "pair_id", "first", "second"),
        "judge",
    ),
    "comparisons": Schema(
        {
            **dict.fromkeys(("model", "judge", "arm", "condition"), TEXT),
            "measure": one_of(*OUTCOMES),
            **ESTIMATE,
            **dict.fromkeys(("p", "p_holm"), NUMBER),
            **dict.fromkeys(("detectable", "p_equivalent"), GAP),
        },
        ("model", "judge", "arm", "condition", "measure"),
        "judge",
        TRIPLE,
    ),
    "read_back": Schema(
        {
            **dict.fromkeys(("model", "arm", "pair_id"), TEXT),
            "label": LABEL,
            "text": Column("text", optional=True),
            "overlap": NUMBER,
            "state": one_of("read", "not_read", "refused"),
        },
        ("model", "arm", "pair_id"),
        "read_back",
    ),
    "outcomes_understood": estimates(
        "read_back", model=TEXT, condition=TEXT, arm=TEXT, measure=one_of(*OUTCOMES, *DEGENERATE)
    ),
    "prediction": Schema(
        {
            "model": TEXT,
            "level": LEVEL,
            "name": TEXT,
            **{
                quantity + end: GAP
                for quantity in ("drift", "d_prime", "attack_success")
                for end in ("", "_low", "_high")
            },
            "n": INTEGER,
        },
        ("model", "level", "name"),
        "drift_predicts",
        tuple((q, q + "_low", q + "_high") for q in ("drift", "d_prime", "attack_success")),
    ),
    "correlations": estimates("drift_predicts", level=LEVEL, x=TEXT, y=TEXT),
    "strength": estimates(
        "drift_causes",
        model=TEXT,
        arm=TEXT,
        direction=one_of("correct", "induce"),
        vector=VECTOR,
        layer=INTEGER,
        alpha=NUMBER,
        measure=one_of(*SEPARABILITY, *OUTCOMES, "degenerate_harmless"),
    ),
    "self_rectification": estimates(
        "self_rectification",
        model=TEXT,
        arm=TEXT,
        vector=VECTOR,
        label=LABEL,
        layer=INTEGER,
        measure=one_of("z_before", "z_after", "change"),
    ),
    "detectors": estimates(
        "self_rectification",
        model=TEXT,
        arm=TEXT,
        signal=one_of("rho", "z_before", "z_after", "probe_text", "probe_image"),
    ),
    "rectification_by_block": estimates(
        "self_rectification",
        model=TEXT,
        arm=TEXT,
        vector=VECTOR,
        layer=INTEGER,
        measure=one_of("gap", "auroc"),
    ),
    "recipes": Schema(
        {
            **dict.fromkeys(("model", "arm"), TEXT),
            "budget": NUMBER,
            **dict.fromkeys(("recipe", "signal", "read", "probe", "correction", "passes"), TEXT),
            **dict.fromkeys(("readings", "fitted"), INTEGER),
            **dict.fromkeys(("threshold", "refusal", "over_refusal"), NUMBER),
            "chosen": BOOLEAN,
            "why": Column("text", optional=True),
        },
        ("model", "arm", "budget", "recipe"),
        "calibrate",
    ),
    "frontier": estimates("regap", model=TEXT, arm=TEXT, method=TEXT, over_refusal=NUMBER),
    "advantage": Schema(
        {
            **dict.fromkeys(("model", "arm", "method"), TEXT),
            "budget": NUMBER,
            "measure": one_of("at_equal_over_refusal", "against_chosen_strength", "over_refusal_change"),
            **ESTIMATE,
            **dict.fromkeys(("low_all", "high_all"), GAP),
        },
        ("model", "arm", "method", "budget", "measure"),
        "regap",
        (("value", "low", "high"), ("value", "low_all", "high_all")),
    ),
    "adaptive": estimates(
        "regap", model=TEXT, arm=TEXT, method=TEXT, setting=TEXT, measure=one_of(*OUTCOMES)
    ),
    "methods": Schema(
        {
            **dict.fromkeys(("model", "arm", "method"), TEXT),
            "measure": one_of(*OUTCOMES, "contrast_over_refusal"),
            **ESTIMATE,
            **dict.fromkeys(("change", "change_low", "change_high", "p", "p_holm", "detectable"), GAP),
        },
        ("model", "arm", "method", "measure"),
        "compare",
        (("value", "low", "high"), ("change", "change_low", "change_high")),
    ),
    "method_settings": Schema(
        {
            **dict.fromkeys(("model", "method", "title"), TEXT),
            **dict.fromkeys(("needs", "looks_at"), Column("text", optional=True)),
            "site": TEXT,
            "strength": NUMBER,
            **dict.fromkeys(("passes", "readings"), INTEGER),
            "writes": Column("text", optional=True),
            "answers": NUMBER,
            "wording": Column("text", optional=True),
        },
        ("model", "method"),
        "compare",
    ),
    "methods_by_category": estimates(
        "compare",
        **dict.fromkeys(("model", "arm", "method"), TEXT),
        measure=one_of("attack_success", "over_refusal", "contrast_over_refusal"),
        category=TEXT,
    ),
    "method_times": Schema(
        {**dict.fromkeys(("model", "method"), TEXT), "time": NUMBER}, ("model", "method"), "compare"
    ),
    "method_gaps": Schema(
        dict.fromkeys(("model", "method", "title", "reason"), TEXT), ("model", "method"), "compare"
    ),
    "utility": estimates(
        "utility",
        **dict.fromkeys(("model", "benchmark", "arm", "condition", "category"), TEXT),
        measure=one_of(*UTILITY),
    ),
    "utility_changes": Schema(
        {
            **dict.fromkeys(("model", "benchmark", "arm", "condition"), TEXT),
            "measure": one_of("accuracy", "accuracy_plus", "circular_accuracy"),
            **ESTIMATE,
            **dict.fromkeys(("p", "p_holm", "p_equivalent"), NUMBER),
            "detectable": GAP,
        },
        ("model", "benchmark", "arm", "condition", "measure"),
        "utility",
        TRIPLE,
    ),
    "utility_answers": Schema(
        {
            **dict.fromkeys(
                ("model", "benchmark", "arm", "condition", "pair_id", "category", "answer"), TEXT
            ),
            **dict.fromkeys(("text", "said"), Column("text", optional=True)),
            **dict.fromkeys(("right", "refused"), BOOLEAN),
        },
        ("model", "benchmark", "arm", "condition", "pair_id"),
        "utility",
    ),
    "ablation": estimates(
        "ablate",
        **dict.fromkeys(("model", "arm"), TEXT),
        component=one_of("attention", "mlp", "head", "block", "state", "refusal", "drift"),
        head=INTEGER,
        replacement=one_of("zero", "mean", "resample", "patch-text", "patch-image"),
        control=one_of("none", "random", "self"),
        positions=one_of("last", "after_instruction", "image", "request", "template", "all"),
        layers=TEXT,
        layer=INTEGER,
        label=LABEL,
        measure=one_of("z", "log_odds", "first_token", *OUTCOMES),
        read_layer=INTEGER,
    ),
    "sweep": estimates(
        "sweep",
        **dict.fromkeys(("model", "arm"), TEXT),
        vector=VECTOR,
        layer=INTEGER,
        alpha=NUMBER,
        label=LABEL,
        measure=one_of("z", "first_token"),
    ),
    "claims": Schema(
        {
            "claim": one_of("collapse", "drift_predicts", "drift_causes", "self_rectification", "regap"),
            "title": TEXT,
            "verdict": one_of("holds", "does not hold", "unclear"),
            "criterion": TEXT,
            "evidence": TEXT,
            **ESTIMATE,
        },
        ("claim",),
        "claims",
        TRIPLE,
    ),
}


def conform(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table in its schema's column order and types; a ValueError says what does not fit, and where."""
    schema = SCHEMAS[name]
    check_columns(name, schema, table)
    if table.empty:
        raise ValueError(f"table {name!r} has no rows; an empty result is an error, not a table")
    columns = {
        column: typed(name, column, kind, pd.Series(table[column])) for column, kind in schema.columns.items()
    }
    result = pd.DataFrame(columns).reset_index(drop=True)
    check_key(name, schema, result)
    for value, low, high in schema.intervals:
        check_interval(name, result, value, low, high)
    return result


def check_columns(name: str, schema: Schema, table: pd.DataFrame) -> None:
    """Exactly the schema's columns, in any order."""
    missing = [column for column in schema.columns if column not in table.columns]
    unknown = [str(column) for column in table.columns if column not in schema.columns]
    if missing or unknown:
        raise ValueError(
            f"table {name!r} has the wrong columns: missing {missing}, unknown {unknown}; "
            f"it needs exactly {list(schema.columns)}"
        )


def typed(name: str, column: str, kind: Column, values: pd.Series) -> np.ndarray:
    """The column's values as numpy: float64, int64, bool or str objects."""
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
    fraction = ~np.isfinite(numbers) | (np.floor(numbers) != numbers)
    if fraction.any():
        row = first(fraction)
        raise ValueError(f"{where}: row {row} holds {numbers[row]}, which is not a whole number")
    whole = numbers.astype(np.int64)
    return whole.astype(bool) if kind.kind == "boolean" else whole


def text_values(where: str, kind: Column, values: pd.Series) -> np.ndarray:
    """The column as str objects, gaps as empty strings, each one of the allowed values when they are few."""
    texts = np.array(["" if gap else text for gap, text in zip(values.isna(), values, strict=True)], object)
    wrong = [not isinstance(text, str) for text in texts]
    if any(wrong):
        raise ValueError(f"{where}: row {first(wrong)} holds {texts[first(wrong)]!r}, which is not text")
    unknown = sorted(set(texts) - set(kind.values)) if kind.values else []
    if unknown:
        raise ValueError(f"{where}: unknown values {unknown}; known are {list(kind.values)}")
    return texts


def check_key(name: str, schema: Schema, table: pd.DataFrame) -> None:
    """No two rows speak of the same thing."""
    repeated = table.duplicated(list(schema.key))
    if repeated.any():
        row = first(repeated)
        same = {column: table[column].iloc[row] for column in schema.key}
        raise ValueError(f"table {name!r}: row {row} repeats an earlier row's {same}; one observation a row")


def check_interval(name: str, table: pd.DataFrame, value: str, low: str, high: str) -> None:
    """low <= value <= high wherever two of them are finite, up to rounding."""
    for below, above in ((low, value), (value, high), (low, high)):
        slack = 1e-9 * (1 + table[above].abs())
        wrong = np.isfinite(table[below]) & np.isfinite(table[above]) & (table[below] > table[above] + slack)
        if wrong.any():
            row = first(wrong)
            raise ValueError(
                f"table {name!r}: in row {row} {below}={table[below].iloc[row]:.6g} lies above "
                f"{above}={table[above].iloc[row]:.6g}; an interval is ordered {low} <= {value} <= {high}"
            )


def first(flags: object) -> int:
    """The position of the first true flag."""
    return int(np.argmax(np.asarray(flags)))
