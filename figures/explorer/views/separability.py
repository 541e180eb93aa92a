"""View: separability of harmful and harmless by layer and arm."""

from typing import Any

import pandas as pd

from regap.figures.drawing.marks import marked_at
from regap.figures.drawing.menus import rows_with
from regap.figures.drawing.style import INTERVAL, counted, dressed
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.views.view import Shown, View
from regap.figures.plots import separability_by_layer


def wanted(run: ExploredRun, query: Query) -> dict[str, Any]:
    """Return the options of the figure; the model is the run's own."""
    return {
        "model": run.own_model(run.record("separability").table),
        "measure": query.measure,
        "condition": query.condition,
        "direction": query.direction,
        "arms": query.arm,
    }


def show(run: ExploredRun, query: Query) -> Shown:
    """Return one measure by layer, with a line and interval band for each arm; a click chooses a layer."""
    rows = data(run, query)
    figure = dressed(separability_by_layer.draw(run.record("separability"), **wanted(run, query)))
    if query.layer is not None:
        figure.add_vline(**marked_at(query.layer))
    return Shown(
        figure,
        caption=f"{counted(rows['n'], 'prompts per estimate')}. {INTERVAL} "
        "Dotted: the layer of the other views; click a point to move it.",
    )


def data(run: ExploredRun, query: Query) -> pd.DataFrame:
    """The rows of the table that are drawn."""
    asked = wanted(run, query)
    try:
        return rows_with(run.record("separability").table, arm=asked.pop("arms"), **asked)
    except ValueError as error:
        raise Missing(f"The run has no such separability: {error}. Choose others.") from None


VIEW = View(
    "separability",
    "Separability",
    "Separability of harmful and harmless, layer by layer",
    ("measure", "condition", "direction", "layer", "arm"),
    show,
    data,
    "separability_by_layer",
)
