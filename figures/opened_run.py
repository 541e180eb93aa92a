"""A run opened from Python: its tables, figures and report; no model is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from regap.analyses.runs.questions import Question, edits_of, questions_of, stored_edit
from regap.analyses.runs.records import RunRecords, Summary, table_path
from regap.analyses.tables.schemas import SCHEMAS, command_for
from regap.errors import ConfigError

if TYPE_CHECKING:
    import plotly.graph_objects as go


def open_run(folder: Path | str) -> "Run":
    """Return a finished or unfinished run; raises ConfigError if there is no such folder."""
    if not Path(folder).is_dir():
        raise ConfigError(
            f"folder={str(folder)!r} is not a folder; make one with `regap run` or `regap demo`"
        )
    return Run(Path(folder))


def figure(name: str, table: pd.DataFrame, **options: Any) -> "go.Figure":
    """Return the figure of this name for a table in memory, such as `figure("separability", rg.separability(...))`.

    options: as in `Run.figure`. Raises ValueError for a table or an option that does not fit the figure.
    """
    from regap.figures.gallery import drawn_from_table

    return drawn_from_table(name, table, **options)


@dataclass(frozen=True)
class Run:
    """The contents of a run folder; tables are read when needed."""

    folder: Path

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the run's tables."""
        return tuple(name for name in SCHEMAS if table_path(self.folder, name).is_file())

    @property
    def questions(self) -> tuple[Question, ...]:
        """Further questions to the run, such as by `regap ablate`; the newest first."""
        return questions_of(self.folder)

    def table(self, name: str, question: Question | None = None) -> pd.DataFrame:
        """Return a copy of this table, one estimate or observation per row.

        question: one of `questions`, to read its answer; by default the newest with this table, or the run's own.
        Raises ConfigError, with the run's tables and the command that makes this one, if it is missing.
        """
        names = question.tables if question else self.tables
        if name not in names:
            there = f"It has {', '.join(names)}" if names else "It has no tables yet"
            raise ConfigError(f"{missing_table(self.folder, name)}. {there}.")
        found = answer_to(self._records, question)
        if name not in found.records:
            raise ConfigError(f"table {name!r} cannot be read: {found.unreadable[name]}")
        return found.records[name].table.copy()

    def figure(self, name: str, question: Question | None = None, **options: Any) -> "go.Figure":
        """Return the figure of this name or short name, such as `plane` or `separability`.

        question: as in `table`. options: layer (0-based), measure, arms (one or several) and theme (light or dark),
        if the figure has them. Raises ValueError for an unknown name or option, ConfigError if its table is missing.
        """
        from regap.figures.gallery import drawn_by_name

        return drawn_by_name(answer_to(self._records, question), name, **options)

    @property
    def edits(self) -> tuple[str, ...]:
        """The names of its stored corrections: fixed, regap, and those that `regap image-tokens` chose."""
        return tuple(edits_of(self.folder))

    def edit(self, name: str) -> Any:
        """Return a stored correction, the newest of this name; raises ConfigError if there is none so named."""
        return stored_edit(self.folder, name)

    @property
    def summary(self) -> Mapping[str, Any]:
        """The headline numbers of summary.json; empty if the run is not finished."""
        return self._records.summary.content

    def answers(self, condition: str = "baseline", arm: str | None = None) -> tuple[Any, ...]:
        """Return the run's answers under a condition, in one arm or in all, as input for `rg.judge`.

        Raises ConfigError if the run is not finished, or has no such answers.
        """
        from regap.analyses.judges.stored_answers import stored_answers

        kept = stored_answers(self.folder).answers
        found = tuple(one.completion for one in kept if one.condition == condition and arm in (None, one.arm))
        if not found:
            there = sorted({f"{one.condition} in arm {one.arm}" for one in kept})
            raise ConfigError(
                f"the run has no answers under {condition!r} in arm {arm}; it has {', '.join(there)}"
            )
        return found

    def report(self) -> Path:
        """Write report.html into the folder, one file that works offline, and return its path."""
        from regap.figures.report import write_report

        return write_report(self.folder)

    @cached_property
    def _records(self) -> RunRecords:
        return RunRecords.load(self.folder)


def answer_to(run: RunRecords, question: Question | None) -> RunRecords:
    """Return the tables that answer a question, with the summary of its run; without a question, the run itself."""
    return replace(RunRecords.load(question.folder), summary=run.summary) if question else run


def in_words(question: Question, all_of_them: Sequence[Question] = ()) -> str:
    """Return a question in words: the command and its settings; if asked more than once, only those that differ."""
    alike = [one.settings for one in all_of_them if one.command == question.command]
    told = [
        f"{name.replace('_', ' ')} {_value(value)}"
        for name, value in question.settings.items()
        if value not in (None, "", [], {})
        and (len(alike) < 2 or any(one.get(name) != value for one in alike))
    ]
    return f"{question.command}: {'; '.join(told) or 'as the run is set'}"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class StoredSite:
    """The site of a correction in summary.json: layers and token positions."""

    layers: tuple[int, ...]
    positions: str

    @classmethod
    def of(cls, summary: Summary, correction: str) -> "StoredSite | None":
        """Return the site of `fixed` or `regap` in summary.json; None if it is not there."""
        found = summary.at(correction, "site")
        if not isinstance(found, dict) or not found.get("layers"):
            return None
        return cls(tuple(int(layer) for layer in found["layers"]), str(found.get("positions", "last")))


def edited_layers(summary: Summary) -> tuple[int, ...]:
    """Return the layers that the run's corrections edit, in order; empty if summary.json has none."""
    sites = [StoredSite.of(summary, correction) for correction in ("fixed", "regap")]
    return tuple(sorted({layer for site in sites if site for layer in site.layers}))


def missing_table(folder: Path, name: str) -> str:
    """Return the message for a missing table, with the command that makes it."""
    command = command_for(name)
    if command == "regap run" and (folder / "config.toml").is_file():
        command = f"regap run --config {folder}/config.toml --out {folder}"
    return f"The run {folder.name} has no table {name!r} yet. It is made by: {command}"
