"""Every figure of a run: the tables it needs, and its file, which works offline."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from regap.analyses.runs.questions import questions_of
from regap.analyses.runs.records import Record, RunRecords, Summary
from regap.analyses.spoken import in_words_of
from regap.errors import ConfigError
from regap.figures.drawing.menus import rows_with
from regap.figures.drawing.style import caption_of, on_paper
from regap.figures.opened_run import answer_to, command_for, in_words
from regap.figures.plots import (
    ablation,
    corrections_by_model,
    dose_response,
    drift_and_separability,
    frontier,
    image_tokens,
    methods,
    outcomes,
    refusal_drift_plane,
    regap_against_fixed,
    self_rectification,
    separability_by_layer,
    sweep,
    text_image_corrected,
)
from regap.geometry.files import write_whole
from regap.geometry.one_or_several import as_names

logger = logging.getLogger(__name__)
PLOTLY = "plotly.min.js"
CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "showSendToCloud": False,  # plotly's own button would send the data of a run to a server
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
    "toImageButtonOptions": {"format": "svg"},
}


@dataclass(frozen=True)
class FigureOptions:
    """Options of a figure; empty: everything, chosen by its menus."""

    layer: int | None = None
    """0-based; the layer drawn in the plane, edited in the dose-response, and marked in separability."""
    measure: str | None = None
    """A measure as in the tables: d_prime, auroc, attack_success, ..."""
    arms: tuple[str, ...] = ()

    @property
    def given(self) -> dict[str, Any]:
        """The options that are not empty, by name."""
        return {name: value for name, value in vars(self).items() if value not in (None, ())}


ALL = FigureOptions()


@dataclass(frozen=True)
class FigureEntry:
    """A figure: its file, its heading, and the table that it needs."""

    file: ModuleType
    """Module with `draw` and `caption`, which take the table and those of `also`; `draw` also takes `told`."""
    heading: str
    table: str
    also: tuple[str, ...] = ()
    """Tables that it uses if they are there."""
    filters: tuple[str, ...] = ()
    """Options that select rows of its table."""
    options: tuple[str, ...] = ()
    """Options that its `draw` takes."""
    told: Callable[[RunRecords], Mapping[str, Any]] = lambda _: {}
    """Further arguments of `draw`, from the run."""

    @property
    def name(self) -> str:
        """The name of its module."""
        return self.file.__name__.rpartition(".")[2]

    @property
    def takes(self) -> tuple[str, ...]:
        """Every option that it has."""
        return (*self.options, *self.filters)

    def checked(self, options: FigureOptions) -> None:
        """Raise ValueError for an option that the figure does not have."""
        for name, value in options.given.items():
            if name not in self.takes:
                has = f"it has {', '.join(self.takes)}" if self.takes else "it has none"
                raise ValueError(f"{name}={value!r} is not an option of the figure {self.name}; {has}")

    def drawn(self, run: RunRecords, options: FigureOptions) -> tuple[go.Figure, str]:
        """The figure and its caption; options that it does not have are left out."""
        given = options.given
        first = run.records[self.table]
        chosen = {"arm" if name == "arms" else name: given[name] for name in self.filters if name in given}
        if chosen:
            first = Record(self.table, rows_with(first.table, **chosen))
        records = [first, *(run.records.get(name) for name in self.also)]
        own = {name: given[name] for name in self.options if name in given}
        if "layer" in own and "layer" in first.table and own["layer"] not in set(first.table["layer"]):
            there = f"{first.table['layer'].min()} to {first.table['layer'].max()}"
            raise ConfigError(f"layer={own['layer']} was not read; choose a layer from {there}")
        arm = run.summary.text("image_arm")
        figure = self.file.draw(*records, **self.told(run), **own)
        return worded(figure, arm), in_words_of(arm, self.file.caption(*records, **own))


def worded(figure: go.Figure, arm: str | None) -> go.Figure:
    """Return the figure with all its texts in the words of the corrected arm."""

    def changed(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: changed(each) for name, each in part.items()}
        if isinstance(part, list | tuple):
            return [changed(each) for each in part]
        return in_words_of(arm, part) if isinstance(part, str) else part

    return figure if in_words_of(arm, "image") == "image" else go.Figure(changed(figure.to_dict()))


@dataclass(frozen=True)
class DrawnFigure:
    """The result for one run: figure and caption, or in words why there is none."""

    drawing: FigureEntry
    figure: go.Figure | None
    caption: str
    problem: str
    tables: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the file of each table it was drawn from; also in the figure's `meta`."""
    asked: str = ""
    """The question that it answers, in words; empty for tables of the run itself."""
    older: str = ""
    """Digest of the question, if a newer question has the same table; else empty."""

    @property
    def name(self) -> str:
        """The name of its file, which ends in the digest for an older question."""
        return f"{self.drawing.name}-{self.older}" if self.older else self.drawing.name


def thresholds(run: RunRecords) -> Mapping[int, float] | None:
    """The text-fitted threshold of the refusal coordinate by layer, when summary.json holds `thresholds`."""
    stored = run.summary.at("thresholds")
    if not isinstance(stored, dict):
        return None
    return {int(layer): float(value) for layer, value in stored.items() if isinstance(value, int | float)}


DRAWINGS = (
    FigureEntry(
        separability_by_layer,
        "Separability by layer",
        "separability",
        options=("layer", "measure", "arms"),
        told=lambda run: {"chosen_layer": run.summary.layer},
    ),
    FigureEntry(
        text_image_corrected,
        "Text, image, image corrected",
        "coordinates",
        ("outcomes",),
        options=("layer",),
        told=lambda run: {"threshold": thresholds(run)},
    ),
    FigureEntry(
        refusal_drift_plane,
        "Prompts by drift and refusal",
        "coordinates",
        options=("layer", "arms"),
        told=lambda run: {"chosen_layer": run.summary.layer, "threshold": thresholds(run)},
    ),
    FigureEntry(drift_and_separability, "Does drift predict the loss?", "prediction", ("correlations",)),
    FigureEntry(
        dose_response, "Does drift cause the loss?", "strength", options=("layer", "measure", "arms")
    ),
    FigureEntry(self_rectification, "Self-rectification", "self_rectification", ("detectors",), ("arms",)),
    FigureEntry(regap_against_fixed, "ReGap against fixed strengths", "adaptive", filters=("arms",)),
    FigureEntry(outcomes, "What the model did", "outcomes", filters=("measure", "arms")),
)
NAMES = tuple(drawing.name for drawing in DRAWINGS)
OTHERS = (
    FigureEntry(frontier, "Attack success at equal over-refusal", "frontier", filters=("arms",)),
    FigureEntry(methods, "Methods under the same rules", "methods", ("method_settings",), ("arms",)),
    FigureEntry(ablation, "Ablation by layer and component", "ablation", filters=("measure", "arms")),
    FigureEntry(image_tokens, "The drift at the image's own tokens", "image_tokens", filters=("arms",)),
    FigureEntry(corrections_by_model, "Corrections on each model", "model_corrections"),
    FigureEntry(sweep, "Every strength at every layer", "sweep", filters=("measure", "arms")),
)
"""Figures of commands other than `regap run`; they are drawn only if their table is there."""
ENTRIES = {entry.name: entry for entry in (*DRAWINGS, *OTHERS)}
"""All figures by name."""
SHORT_NAMES = {
    "separability": "separability_by_layer",
    "plane": "refusal_drift_plane",
    "drift": "drift_and_separability",
    "doses": "dose_response",
    "regap": "regap_against_fixed",
}


def named(name: str) -> FigureEntry:
    """Return the figure of this name or short name; raises ValueError, with all names, for any other."""
    found = ENTRIES.get(SHORT_NAMES.get(name, name))
    if found is None:
        short = ", ".join(f"{short} for {full}" for short, full in SHORT_NAMES.items())
        raise ValueError(f"only={name!r} is not a figure; choose one of {list(ENTRIES)}, or in short {short}")
    return found


def write_figures(
    run_folder: Path | str, only: str | Sequence[str] = (), options: FigureOptions = ALL
) -> list[Path]:
    """Write RUN/figures/<name>.html, each from its tables, and plotly.js once beside them; return the files.

    only: names or short names of figures; empty: all. A figure whose table is missing is skipped and logged, or raises
    ValueError if it was named. Equal tables give equal bytes.
    """
    run = RunRecords.load(run_folder)
    folder = run.folder / "figures"
    written = []
    for drawn in draw_all(run, only, options):
        if drawn.figure is None:
            if only:
                raise ValueError(f"only={drawn.drawing.name!r}: {drawn.problem}")
            logger.warning("figure %s skipped: %s", drawn.drawing.name, drawn.problem)
            continue
        page = page_of(drawn.figure, drawn.name)
        written.append(write_whole(folder / f"{drawn.name}.html", page.encode()))
    if written:
        write_whole(folder / PLOTLY, get_plotlyjs().encode())
    return written


def draw_all(
    run: RunRecords, only: str | Sequence[str] = (), options: FigureOptions = ALL
) -> list[DrawnFigure]:
    """Return every figure of a run, or those named; a figure that cannot be drawn gives the reason.

    A figure whose table answers several questions is drawn for each, the newest first. An option that a figure does
    not have is ignored, or raises ValueError if the figure was named.
    """
    wanted = [named(name) for name in ([only] if isinstance(only, str) else only)]
    for entry in wanted:
        entry.checked(options)
    there = [*DRAWINGS, *(entry for entry in OTHERS if entry.table in run.records)]
    questions = questions_of(run.folder)
    drawn = []
    for entry in wanted or there:
        answers = [question for question in questions if entry.table in question.tables]
        if not answers:
            drawn.append(drawn_from(run, entry, options))
        for place, question in enumerate(answers):
            one = drawn_from(answer_to(run, question), entry, options)
            words = in_words(question, questions)
            caption = caption_of(one.caption, f"Asked by regap {words}.")
            older = question.folder.name.rpartition("-")[2] if place else ""
            drawn.append(replace(one, caption=caption, asked=words, older=older))
    return drawn


def drawn_by_name(run: RunRecords, name: str, *, theme: str = "light", **options: Any) -> go.Figure:
    """Return one figure of a run; raises ValueError for an option it does not have, ConfigError if drawing fails."""
    drawn = draw_all(run, name, _options(theme, **options))[0]
    if drawn.figure is None:
        raise ConfigError(f"figure {drawn.drawing.name!r}: {drawn.problem}")
    return on_paper(drawn.figure, theme)


def drawn_from_table(name: str, table: pd.DataFrame, *, theme: str = "light", **options: Any) -> go.Figure:
    """Return one figure of a table in memory; raises ValueError for a table or an option that does not fit."""
    entry, chosen = named(name), _options(theme, **options)
    entry.checked(chosen)
    run = RunRecords(Path(), {entry.table: Record(entry.table, table)}, {}, Summary({}))
    return on_paper(entry.drawn(run, chosen)[0], theme)


def _options(theme: str, arms: str | Sequence[str] = (), **options: Any) -> FigureOptions:
    unknown = [option for option in options if option not in FigureOptions.__dataclass_fields__]
    if unknown or theme not in ("light", "dark"):
        wrong = f"{unknown[0]}={options[unknown[0]]!r}" if unknown else f"theme={theme!r}"
        raise ValueError(
            f"{wrong} is not an option of figures; use layer, measure, arms, and theme: light or dark"
        )
    for option, kind in (("layer", int), ("measure", str)):
        if not isinstance(options.get(option), kind | None):
            raise ValueError(f"{option}={options[option]!r}: figures take one {option}")
    return FigureOptions(arms=as_names(arms) if arms else (), **options)


def drawn_from(run: RunRecords, drawing: FigureEntry, options: FigureOptions = ALL) -> DrawnFigure:
    """The figure and its caption, or why there is none."""
    if drawing.table not in run.records:
        missing = f"the run has no table {drawing.table!r}; `{command_for(drawing.table)}` makes it"
        return DrawnFigure(drawing, None, "", run.unreadable.get(drawing.table, missing))
    try:
        tables = {name: run.digest(name) for name in (drawing.table, *drawing.also) if name in run.records}
        figure, caption = drawing.drawn(run, options)
        return DrawnFigure(drawing, figure.update_layout(meta={"tables": tables}), caption, "", tables)
    except ConfigError as error:
        return DrawnFigure(drawing, None, "", str(error))
    except Exception as error:  # a failure must not prevent the other figures
        logger.debug("figure %s failed", drawing.name, exc_info=True)
        return DrawnFigure(drawing, None, "", f"drawing failed: {type(error).__name__}: {error}")


def page_of(figure: go.Figure, name: str) -> str:
    """Return a page with one figure, which loads plotly.js from the file beside it."""
    return to_html(figure, config=CONFIG, include_plotlyjs="directory", div_id=name, auto_play=False)


def part_of(figure: go.Figure, name: str) -> str:
    """The figure as part of a page that has plotly.js already."""
    return to_html(
        figure, config=CONFIG, include_plotlyjs=False, full_html=False, div_id=name, auto_play=False
    )
