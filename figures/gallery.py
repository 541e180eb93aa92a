"""Every figure of a run: which tables each needs, and how it is written to a file that opens offline."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import plotly.graph_objects as go
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from regap.analyses.runs.records import Record, RunRecords
from regap.figures import (
    ablation,
    dose_response,
    drift_and_separability,
    frontier,
    layer_sweep,
    methods,
    outcomes,
    refusal_drift_plane,
    regap_against_fixed,
    self_rectification,
    separability_by_layer,
)
from regap.geometry.files import write_whole

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
class FigureEntry:
    """A figure by name: its heading, the table it cannot do without, how it is drawn and captioned from a run."""

    name: str
    heading: str
    table: str
    draw: Callable[[RunRecords], go.Figure]
    caption: Callable[[RunRecords], str]
    also: tuple[str, ...] = ()
    """Tables it uses where they are there."""


@dataclass(frozen=True)
class DrawnFigure:
    """A drawing's result for one run: the figure and caption, or in words why there is none."""

    drawing: FigureEntry
    figure: go.Figure | None
    caption: str
    problem: str
    tables: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the file of each table it was drawn from; in the figure's own `meta` too."""


def from_records(
    name: str, heading: str, figure: ModuleType, table: str, also: tuple[str, ...] = ()
) -> FigureEntry:
    """A drawing of tables alone: the figure's own draw and caption are given the records, None for those not there."""

    def records(run: RunRecords) -> list[Record | None]:
        return [run.records[table], *(run.records.get(other) for other in also)]

    return FigureEntry(
        name,
        heading,
        table,
        lambda run: figure.draw(*records(run)),
        lambda run: figure.caption(*records(run)),
        also,
    )


DRAWINGS = (
    FigureEntry(
        "separability_by_layer",
        "Where the classes come apart",
        "separability",
        lambda run: separability_by_layer.draw(run.records["separability"], chosen_layer=run.summary.layer),
        lambda run: separability_by_layer.caption(run.records["separability"]),
    ),
    FigureEntry(
        "refusal_drift_plane",
        "Prompts by drift and refusal",
        "coordinates",
        lambda run: refusal_drift_plane.draw(
            run.records["coordinates"], threshold=thresholds(run), chosen_layer=run.summary.layer
        ),
        lambda run: refusal_drift_plane.caption(run.records["coordinates"]),
    ),
    from_records(
        "drift_and_separability",
        "Does drift predict the loss?",
        drift_and_separability,
        "prediction",
        ("correlations",),
    ),
    from_records("dose_response", "Does drift cause the loss?", dose_response, "strength"),
    from_records(
        "self_rectification", "Self-rectification", self_rectification, "self_rectification", ("detectors",)
    ),
    from_records("regap_against_fixed", "ReGap against fixed strengths", regap_against_fixed, "adaptive"),
    from_records("outcomes", "What the model did", outcomes, "outcomes"),
)
NAMES = tuple(drawing.name for drawing in DRAWINGS)
OTHERS = (
    from_records("frontier", "Attack success at equal over-refusal", frontier, "frontier"),
    from_records("methods", "Methods under the same rules", methods, "methods"),
    from_records("ablation", "What each part of each layer does", ablation, "ablation"),
    from_records("sweep", "Every strength at every layer", layer_sweep, "sweep"),
)
"""Figures of commands other than `regap run`: drawn where their table is there, and missed nowhere."""
ENTRIES = {entry.name: entry for entry in (*DRAWINGS, *OTHERS)}
"""Every figure there is."""


def write_figures(run_folder: Path | str, only: str | None = None) -> list[Path]:
    """Writes RUN/figures/<name>.html, each from its tables alone, and plotly.js once beside them.

    only: the name of one figure. Returns the files written; a figure whose table is absent is skipped and
    logged, one that was asked for by name is an error. Equal tables give equal bytes.
    """
    run = RunRecords.load(run_folder)
    folder = run.folder / "figures"
    written = []
    for drawn in draw_all(run, only):
        if drawn.figure is None:
            if only:
                raise ValueError(f"only={only!r}: {drawn.problem}")
            logger.warning("figure %s skipped: %s", drawn.drawing.name, drawn.problem)
            continue
        page = page_of(drawn.figure, drawn.drawing.name)
        written.append(write_whole(folder / f"{drawn.drawing.name}.html", page.encode()))
    if written:
        write_whole(folder / PLOTLY, get_plotlyjs().encode())
    return written


def draw_all(run: RunRecords, only: str | None = None) -> list[DrawnFigure]:
    """Every figure of a run, or the one named; a figure that cannot be drawn says why and stops no other."""
    names = [*NAMES, *(drawing.name for drawing in OTHERS)]
    if only is not None and only not in names:
        raise ValueError(f"only={only!r} is no figure; the figures are {names}")
    there = [drawing for drawing in OTHERS if drawing.table in run.records or only == drawing.name]
    return [drawn_from(run, drawing) for drawing in (*DRAWINGS, *there) if only in (None, drawing.name)]


def drawn_from(run: RunRecords, drawing: FigureEntry) -> DrawnFigure:
    """The figure and its caption, or why there is none."""
    if drawing.table not in run.records:
        missing = f"the run has no table {drawing.table!r}; `regap run` makes it"
        return DrawnFigure(drawing, None, "", run.unreadable.get(drawing.table, missing))
    try:
        tables = {name: run.digest(name) for name in (drawing.table, *drawing.also) if name in run.records}
        figure = drawing.draw(run).update_layout(meta={"tables": tables})
        return DrawnFigure(drawing, figure, drawing.caption(run), "", tables)
    except Exception as error:  # one figure's failure must not cost the reader the others
        logger.debug("figure %s failed", drawing.name, exc_info=True)
        return DrawnFigure(drawing, None, "", f"drawing failed: {type(error).__name__}: {error}")


def page_of(figure: go.Figure, name: str) -> str:
    """A whole page with one figure, which reads plotly.js from the file beside it."""
    return to_html(figure, config=CONFIG, include_plotlyjs="directory", div_id=name, auto_play=False)


def part_of(figure: go.Figure, name: str) -> str:
    """The figure as part of a page that has plotly.js already."""
    return to_html(
        figure, config=CONFIG, include_plotlyjs=False, full_html=False, div_id=name, auto_play=False
    )


def thresholds(run: RunRecords) -> Mapping[int, float] | None:
    """The text-fitted threshold of the refusal coordinate by layer, when summary.json holds `thresholds`."""
    stored = run.summary.at("thresholds")
    if not isinstance(stored, dict):
        return None
    return {int(layer): float(value) for layer, value in stored.items() if isinstance(value, int | float)}
