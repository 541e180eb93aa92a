"""A run folder as the explorer sees it: each table read when it is asked for, and read again when it changed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
from safetensors import safe_open

from regap.analyses.runs.questions import Question, questions_of
from regap.analyses.runs.records import Record, RunRecords, Summary, table_path
from regap.analyses.tables.schemas import SCHEMAS
from regap.figures.drawing.items import Items, read_items
from regap.figures.explorer.run.prompts import Prompts
from regap.figures.gallery import thresholds
from regap.figures.opened_run import missing_table

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


class Missing(ValueError):
    """What a view needs is not in the run folder; the message says which command makes it."""


@dataclass(frozen=True)
class KeptFile:
    """Something read from a file, or why it could not be, and the state of the file then."""

    stamp: tuple[tuple[int, int], ...]
    value: Any
    problem: str = ""


@dataclass(frozen=True, eq=False)
class ExploredRun:
    """One run folder; raises Missing for what is not in it, which a view shows instead of a figure."""

    folder: Path
    kept: dict[str, KeptFile] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ValueError(f"RUN is {str(self.folder)!r}, which is no folder; `regap demo` makes a run")

    @property
    def name(self) -> str:
        """What the run is called on the page: its folder and its model."""
        model = self.summary.model
        return f"{self.folder.name} · {model}" if model else self.folder.name

    @property
    def summary(self) -> Summary:
        """Headline numbers; empty while the run is not finished."""
        return self._read("summary", [self.folder / "summary.json"], lambda: Summary.load(self.folder))

    @property
    def items(self) -> Items:
        """Every prompt at every layer."""
        return self._table("coordinates", lambda path: read_items(path, self.summary.model), kept_as="items")

    @property
    def answers(self) -> AnswerTable | None:
        """Answers and verdicts; None where the run has none yet."""
        files = [table_path(self.folder, name) for name in ("completions", "verdicts")]
        if not all(path.is_file() for path in files):
            return None
        return self._read("answers", files, lambda: read_answers(files[0], files[1], self.summary.model))

    @property
    def item_facts(self) -> pd.DataFrame | None:
        """The facts of the answer to each item, in the order of the items; None where nothing was answered."""
        answers = self.answers
        if answers is None:
            return None
        files = [table_path(self.folder, name) for name in ("coordinates", "completions", "verdicts")]
        return self._read("item_facts", files, lambda: answers.joined(self.items.rows))

    @property
    def prompts(self) -> Prompts:
        """What was asked; empty where prompts.parquet is missing."""
        path = self.folder / "prompts.parquet"
        return self._read("prompts", [path], lambda: Prompts.of(path))

    def record(self, name: str) -> Record:
        """A table by name."""
        return self._table(name, lambda _: Record.load(self.folder, name))

    def has(self, name: str) -> bool:
        """True if the table is there."""
        return table_path(self.folder, name).is_file()

    @property
    def questions(self) -> tuple[Question, ...]:
        """What was asked of the run beside its own analyses, the newest first."""
        try:
            return questions_of(self.folder)
        except ValueError as error:
            raise Missing(str(error)) from None

    @property
    def thresholds(self) -> Mapping[int, float]:
        """The text-fitted threshold of z by layer, as far as summary.json has them."""
        return thresholds(self.as_records()) or {}

    @property
    def chosen_layer(self) -> int | None:
        """The layer that the run quotes."""
        return self.summary.layer

    def own_model(self, table: pd.DataFrame) -> str:
        """The model of a table that the run is about: the one that summary.json names, else the first."""
        models = table["model"].unique()
        return str(self.summary.model if self.summary.model in models else models[0])

    def as_records(self) -> RunRecords:
        """The same run for figures that are drawn from a whole run; still nothing is read before it is needed."""
        return RunRecords(self.folder, LazyRecords(self), {}, self.summary)

    def directions(self) -> Mapping[str, np.ndarray]:
        """The tensors of directions.safetensors, each [layer, d_model]."""
        path = self.folder / "directions.safetensors"
        if not path.is_file():
            raise Missing(
                f"the run {self.folder.name} has no directions.safetensors; `regap run` or `regap capture` makes it"
            )
        return self._read("directions", [path], lambda: read_directions(path))

    def _table(self, name: str, read: Callable[[Path], Any], kept_as: str = "") -> Any:
        path = table_path(self.folder, name)
        if not path.is_file():
            raise Missing(missing_table(self.folder, name))
        return self._read(kept_as or name, [path], lambda: read(path))

    def _read(self, name: str, files: list[Path], read: Callable[[], Any]) -> Any:
        """What was read last, or read anew if a file changed; a damaged file is Missing, and told once."""
        stamp = tuple((at.stat().st_mtime_ns, at.stat().st_size) for at in files if at.is_file())
        kept = self.kept.get(name)
        if kept is None or kept.stamp != stamp:
            try:
                kept = KeptFile(stamp, read())
            except (ValueError, OSError) as error:
                kept = KeptFile(stamp, None, f"{', '.join(at.name for at in files)} cannot be read: {error}")
            self.kept[name] = kept
        if kept.problem:
            raise Missing(kept.problem)
        return kept.value


@dataclass(frozen=True, eq=False)
class LazyRecords(Mapping[str, Record]):
    """The records of a run by name, each read when it is looked up."""

    run: ExploredRun

    def __getitem__(self, name: str) -> Record:
        if not self.run.has(name):
            raise KeyError(name)
        return self.run.record(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in SCHEMAS and self.run.has(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in SCHEMAS if self.run.has(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read_directions(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of the file, as float64."""
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}  # noqa: SIM118
