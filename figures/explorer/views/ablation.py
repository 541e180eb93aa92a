"""View: what each part of each layer does, and every strength at every layer, as heat maps."""

import pandas as pd

from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.views import figure as figure_view
from regap.figures.explorer.views.view import Shown, View

HEATS = ("ablation", "sweep")
LEAST = 420
"""Pixels of the figure's height where it does not say how many it needs."""


def asked_figure(query: Query) -> Query:
    """The query for the figure of these heat maps; Missing for others."""
    if query.heat not in HEATS:
        raise Missing(f"There are no heat maps {query.heat!r}; choose one of {', '.join(HEATS)}.")
    return query.but(figure=query.heat)


def show(run: ExploredRun, query: Query) -> Shown:
    """The heat maps with their menu, as high as their lines need."""
    shown = figure_view.show(run, asked_figure(query))
    high = int(shown.figure.layout.height or LEAST) if shown.figure is not None else LEAST
    return Shown(shown.figure, caption=shown.caption, height=f"max({high}px, calc(100vh - 260px))")


def data(run: ExploredRun, query: Query) -> pd.DataFrame:
    """The table that the heat maps are drawn from."""
    return figure_view.data(run, asked_figure(query))


VIEW = View(
    "ablation",
    "Ablation",
    "The change when a part of a layer is replaced, or a vector is taken off there",
    ("heat",),
    show,
    data,
)
