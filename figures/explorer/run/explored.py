"""A run folder for the explorer: each table is read when needed, and read again after a change."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from regap.analyses.runs.questions import Question, questions_of
from regap.analyses.runs.records import Record, RunRecords, Summary, table_path
from regap.analyses.tables.parquet_files import AGAIN, read_sealed_table
from regap.analyses.tables.schemas import SCHEMAS
from regap.figures.drawing.items import Items, checked_columns, read_items
from regap.figures.explorer.run.prompts import Prompts
from regap.figures.gallery import thresholds
from regap.figures.opened_run import missing_table
from regap.geometry.files import check_whole

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
    """pair_id, arm, condition; verdict of the run's own judge; disagree (of judges); flipped (by the correction)."""

    def joined(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the facts of these items, in order; an item without an answer has an empty verdict."""
        known = self.facts.set_index(list(KEY))
        index = pd.MultiIndex.from_frame(rows[list(KEY)].astype(str))
        found = known.reindex(index).reset_index(drop=True)
        flags = {name: found[name].fillna(False).astype(bool) for name in ("disagree", "flipped")}
        return found.assign(verdict=found["verdict"].fillna(""), **flags)


def read_answers(completions: Path, verdicts: Path, model: str | None = None) -> AnswerTable:
    """Return the answers of a model (default: the first one); raises ValueError for tables that lack a column."""
    said = read_columns(completions, (*KEY, "text"), model)
    judged = read_columns(verdicts, (*KEY, "judge", "verdict", "reason"), model)
    return AnswerTable(said, judged, facts_of(judged))


def read_columns(path: Path, columns: tuple[str, ...], model: str | None) -> pd.DataFrame:
    """Return these columns of a parquet file, with the rows of one model; ValueError names those that are missing."""
    table = read_sealed_table(path, checked_columns(path, ("model", *columns)))
    models = table["model"].unique()
    if len(models) > 1:
        table = table[table["model"] == (model if model in models else models[0])].reset_index(drop=True)
    return table.drop(columns="model")


def facts_of(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return one row per answer: the first judge's verdict, whether judges differ, and whether it was flipped.

    An answer without correction is flipped if any correction changed its verdict; an answer with a correction is
    flipped if its verdict differs from the one without.
    """
    key = list(KEY)
    if verdicts["judge"].nunique() > 1:
        judged = verdicts[~verdicts["verdict"].isin(["not_judged", "misread"])]  # no judge's own
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
    """The run folder lacks something that a view needs; the message names the command that makes it."""


@dataclass(frozen=True)
class KeptFile:
    """Content of files, or the problem in reading them, and the state of the files at that time."""

    stamp: tuple[tuple[int, int], ...]
    value: Any
    problem: str = ""


@dataclass(frozen=True, eq=False)
class ExploredRun:
    """One run folder; raises Missing for missing content, whose message a view shows in place of a figure."""

    folder: Path
    kept: dict[str, KeptFile] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ValueError(
                f"RUN is {str(self.folder)!r}, which is not a folder; make a run with `regap demo`"
            )

    @property
    def name(self) -> str:
        """The run's name on the page: its folder and its model."""
        model = self.summary.model
        return f"{self.folder.name} · {model}" if model else self.folder.name

    @property
    def summary(self) -> Summary:
        """The headline numbers; empty if the run is not finished."""
        return self._read("summary", [self.folder / "summary.json"], lambda: Summary.load(self.folder))

    @property
    def items(self) -> Items:
        """Every prompt at every layer."""
        return self._table("coordinates", lambda path: read_items(path, self.summary.model), kept_as="items")

    @property
    def answers(self) -> AnswerTable | None:
        """Answers and verdicts; None if the run has none yet."""
        files = [table_path(self.folder, name) for name in ("completions", "verdicts")]
        if not all(path.is_file() for path in files):
            return None
        return self._read("answers", files, lambda: read_answers(files[0], files[1], self.summary.model))

    @property
    def item_facts(self) -> pd.DataFrame | None:
        """The facts of the answer to each item, in the order of the items; None if there are no answers."""
        answers = self.answers
        if answers is None:
            return None
        files = [table_path(self.folder, name) for name in ("coordinates", "completions", "verdicts")]
        return self._read("item_facts", files, lambda: answers.joined(self.items.rows))

    @property
    def prompts(self) -> Prompts:
        """The prompts; empty if prompts.parquet is missing."""
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
        """Further questions to the run, the newest first."""
        try:
            return questions_of(self.folder)
        except ValueError as error:
            raise Missing(str(error)) from None

    @property
    def thresholds(self) -> Mapping[int, float]:
        """The text-fitted threshold of z by layer, from summary.json."""
        return thresholds(self.as_records()) or {}

    def own_model(self, table: pd.DataFrame) -> str:
        """Return the run's own model in a table: the one that summary.json names, else the first."""
        models = table["model"].unique()
        return str(self.summary.model if self.summary.model in models else models[0])

    def as_records(self) -> RunRecords:
        """Return the run as RunRecords, for figures; tables are still read only when needed."""
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
        """Return the content of files, read again only after a change; raises Missing for a damaged file."""
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
    check_whole(path, remedy=AGAIN)
    return {name: vector.astype(np.float64) for name, vector in load_file(path).items()}
