"""What a run's model answered, and what every judge made of it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet

KEY = ("pair_id", "arm", "condition")
BEFORE = "baseline"


@dataclass(frozen=True, eq=False)
class AnswerTable:
    """Completions and verdicts, and one row of facts per answer to filter by."""

    completions: pd.DataFrame = field(repr=False)
    """pair_id, arm, condition, text."""
    verdicts: pd.DataFrame = field(repr=False)
    """pair_id, arm, condition, judge, verdict, reason."""
    facts: pd.DataFrame = field(repr=False)
    """pair_id, arm, condition; verdict of the run's own judge; whether judges disagree; whether it was flipped."""

    def joined(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The facts of these items, in their order; where an item was not answered the verdict is missing."""
        known = self.facts.set_index(list(KEY))
        index = pd.MultiIndex.from_frame(rows[list(KEY)].astype(str))
        found = known.reindex(index).reset_index(drop=True)
        flags = {name: found[name].fillna(False).astype(bool) for name in ("disagree", "flipped")}
        return found.assign(verdict=found["verdict"].fillna(""), **flags)


def read_answers(completions: Path, verdicts: Path, model: str | None = None) -> AnswerTable:
    """The answers of the model named, or else of the first in the table; ValueError for tables that lack a column."""
    said = of_model(read_columns(completions, ("model", *KEY, "text")), model)
    judged = of_model(read_columns(verdicts, ("model", *KEY, "judge", "verdict", "reason")), model)
    return AnswerTable(said, judged, facts_of(judged))


def of_model(table: pd.DataFrame, model: str | None) -> pd.DataFrame:
    """The rows of one model, without its name."""
    models = table["model"].unique()
    if len(models) > 1:
        table = table[table["model"] == (model if model in models else models[0])].reset_index(drop=True)
    return table.drop(columns="model")


def read_columns(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """These columns of a parquet file; ValueError names those that are missing."""
    missing = [name for name in columns if name not in parquet.read_schema(path).names]
    if missing:
        raise ValueError(f"{path.name} has no column {', '.join(missing)}; give the run's command again")
    return parquet.read_table(path, columns=list(columns)).to_pandas()


def facts_of(verdicts: pd.DataFrame) -> pd.DataFrame:
    """One row per answer: its first judge's verdict, whether judges that judged it differ, whether it flipped.

    An answer without correction is flipped if any correction changed its verdict; one with a correction, if
    its verdict is not the one without.
    """
    key = list(KEY)
    if verdicts["judge"].nunique() > 1:
        judged = verdicts[verdicts["verdict"] != "not_judged"]
        kinds = judged.drop_duplicates([*key, "verdict"]).groupby(key, sort=False).size()
        differ = kinds[kinds > 1].index
    else:
        differ = pd.MultiIndex.from_arrays([[], [], []], names=key)
    own = verdicts[verdicts["judge"] == verdicts["judge"].iloc[0]][[*key, "verdict"]].reset_index(drop=True)
    before = own[own["condition"] == BEFORE].set_index(["pair_id", "arm"])["verdict"]
    pairs = pd.MultiIndex.from_frame(own[["pair_id", "arm"]])
    was = before.reindex(pairs).to_numpy()
    changed = (own["verdict"].to_numpy() != was) & ~pd.isna(was)
    moved = pairs[changed].unique()
    flipped = np.where(own["condition"] == BEFORE, pairs.isin(moved), changed)
    return own.assign(disagree=pd.MultiIndex.from_frame(own[key]).isin(differ), flipped=flipped)
