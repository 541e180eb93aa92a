"""Views that show a figure of the report: drift, any figure by name, and the heat maps."""

import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import RunRecords
from regap.figures.drawing.style import caption_of
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.views.view import Shown, View
from regap.figures.gallery import ENTRIES, FigureEntry, drawn_from
from regap.figures.opened_run import answer_to, in_words, missing_table

LEAST = 420
"""Height in pixels of heat maps without a height of their own."""
HEATS = ("ablation", "sweep")


def named(run: ExploredRun, name: str) -> FigureEntry:
    """The figure of this name; Missing if there is none, or its table is not there."""
    if name not in ENTRIES:
        raise Missing(f"There is no figure {name!r}; choose one of {', '.join(ENTRIES)}.")
    if not run.has(ENTRIES[name].table):
        raise Missing(missing_table(run.folder, ENTRIES[name].table))
    return ENTRIES[name]


def drawn(records: RunRecords, entry: FigureEntry) -> tuple[go.Figure, str]:
    """Return the figure and its caption; raises Missing, with the reason, if it cannot be drawn."""
    found = drawn_from(records, entry)
    if found.figure is None:
        raise Missing(found.problem)
    return found.figure, found.caption


def show(run: ExploredRun, query: Query) -> Shown:
    """Return the figure that the query names, with its caption."""
    figure, caption = drawn(run.as_records(), named(run, query.figure))
    return Shown(figure, caption=caption)


def show_drift(run: ExploredRun, query: Query) -> Shown:  # noqa: ARG001 - the signature of all views
    """Return drift against d′ and attack success, without a title, since the page has one."""
    figure, caption = drawn(run.as_records(), named(run, "drift_and_separability"))
    return Shown(figure.update_layout(title_text="", margin_t=40), caption=caption)


def heat_maps(run: ExploredRun, query: Query) -> tuple[RunRecords, FigureEntry, str]:
    """Return the tables to draw from, the figure of the heat maps, and the chosen question in words."""
    if query.heat not in HEATS:
        raise Missing(f"There are no heat maps {query.heat!r}; choose one of {', '.join(HEATS)}.")
    known = run.questions
    for question in known:
        shown = [name for name in HEATS if ENTRIES[name].table in question.tables]
        if question.folder.name == query.asked and shown:
            return answer_to(run.as_records(), question), ENTRIES[shown[0]], in_words(question, known)
    return run.as_records(), named(run, query.heat), ""


def show_heat(run: ExploredRun, query: Query) -> Shown:
    """Return the heat maps of a question with their menu, as high as their rows need."""
    records, entry, words = heat_maps(run, query)
    figure, caption = drawn(records, entry)
    high = int(figure.layout.height or LEAST)
    caption = caption_of(f"Asked by regap {words}." if words else "", caption)
    return Shown(figure, caption=caption, height=f"max({high}px, calc(100vh - 260px))")


def heat_table(run: ExploredRun, query: Query) -> pd.DataFrame:
    """The table that the heat maps are drawn from."""
    records, entry, _ = heat_maps(run, query)
    return records.records[entry.table].table


def table(run: ExploredRun, name: str) -> pd.DataFrame:
    """The table that a figure is drawn from."""
    return run.record(named(run, name).table).table


DRIFT = View(
    "drift",
    "Drift",
    "Drift against separability and attack success",
    (),
    show_drift,
    lambda run, _: table(run, "drift_and_separability"),
    "drift_and_separability",
)
FIGURES = View(
    "figures",
    "Figures",
    "Every figure of the report",
    ("figure",),
    show,
    lambda run, query: table(run, query.figure),
)
ABLATION = View(
    "ablation",
    "Ablation",
    "The change when a component of a layer is replaced, or a vector is removed there",
    ("heat", "asked"),
    show_heat,
    heat_table,
)
