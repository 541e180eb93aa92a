"""View: any figure that `regap figures` draws, whichever tables the run has."""

import pandas as pd

from regap.figures.explorer.run.explored import ExploredRun, Missing, missing_table
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.views.view import Shown, View
from regap.figures.gallery import DRAWINGS, OTHERS, FigureEntry, drawn_from


def drawings() -> dict[str, FigureEntry]:
    """Every figure there is, by name."""
    return {drawing.name: drawing for drawing in (*DRAWINGS, *OTHERS)}


def named(run: ExploredRun, query: Query) -> FigureEntry:
    """The figure that the query names; Missing if there is none of that name, or its table is not there."""
    drawing = drawings().get(query.figure)
    if drawing is None:
        raise Missing(f"There is no figure {query.figure!r}; choose one of {', '.join(drawings())}.")
    if not run.has(drawing.table):
        raise Missing(missing_table(run.folder, drawing.table))
    return drawing


def show(run: ExploredRun, query: Query) -> Shown:
    """The figure as it stands in the report, with its caption."""
    drawn = drawn_from(run.as_records(), named(run, query))
    if drawn.figure is None:
        raise Missing(drawn.problem)
    return Shown(drawn.figure, caption=drawn.caption)


def data(run: ExploredRun, query: Query) -> pd.DataFrame:
    """The table that the figure is drawn from."""
    return run.record(named(run, query).table).table


VIEW = View("figures", "Figures", "Every figure of the report", ("figure",), show, data)
