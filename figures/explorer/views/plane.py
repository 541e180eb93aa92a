"""View: every item in the plane of drift and refusal, layer by layer."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from regap.figures.drawing import style
from regap.figures.explorer.marks import clouds, density, marked, span_of
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.run.selection import MOST_POINTS, chosen
from regap.figures.explorer.theme import dressed
from regap.figures.explorer.views.view import FILTERS, Shown, View


def show(run: ExploredRun, query: Query) -> Shown:
    """The items at one layer, harmful as circles and harmless as crosses, and the density of all of them."""
    items, layer = run.items, query.layer or 0
    at = items.place(layer)
    x, y = items.drift[at], items.refusal[at]
    places = asked(run, query, at)
    cut = run.thresholds.get(items.layers[at])
    span = (
        *span_of(x[places]),
        *span_of(y[places], np.array([] if cut is None else [cut], y.dtype)),
    )
    window = query.zoom or span
    seen = inside(places, x, y, window) if query.zoom else places
    figure = go.Figure()
    figure.add_traces(clouds(run, seen, x, y))
    if query.density:
        figure.add_traces(density(items.rows, places, x, y, span))
    figure.add_traces(marked(run, query, x, y))
    dressed(figure)
    figure.update_xaxes(title_text="drift strength δ (0 text, 1 image)", range=window[:2])
    figure.update_yaxes(title_text="refusal coordinate z", range=window[2:])
    if cut is not None:
        figure.add_hline(y=cut, line={"dash": "dot", "color": style.INK, "width": 1.4})
    figure.update_layout(uirevision=f"{layer} {query.arm}", legend_itemsizing="constant", dragmode="pan")
    return Shown(figure, caption=caption(items.layers[at], len(places), len(seen), cut))


def asked(run: ExploredRun, query: Query, at: int) -> np.ndarray:
    """The positions of the items asked for that were read at the layer; Missing if there are none."""
    read = np.isfinite(run.items.refusal[at]) & np.isfinite(run.items.drift[at])
    places = np.flatnonzero(chosen(run, query) & read)
    if not len(places):
        raise Missing("No item fits these filters; widen them, or choose another arm or condition.")
    return places


def inside(places: np.ndarray, x: np.ndarray, y: np.ndarray, window: tuple[float, ...]) -> np.ndarray:
    """The places whose items lie in the window; all of them if none does."""
    x0, x1, y0, y1 = window
    kept = places[(x[places] >= x0) & (x[places] <= x1) & (y[places] >= y0) & (y[places] <= y1)]
    return kept if len(kept) else places


def caption(layer: int, items: int, seen: int, cut: float | None) -> str:
    """What is drawn, of how many."""
    drawn = (
        f"about {MOST_POINTS:,} of {seen:,} drawn; zoom in for more" if seen > MOST_POINTS else "all drawn"
    )
    line = " Dotted: the threshold fitted on text." if cut is not None else ""
    return (
        f"Layer {layer}, {items:,} items, {drawn}. Contours are the density of all of them, "
        f"harmful solid, harmless dotted.{line} Click a point to read it."
    )


def data(run: ExploredRun, query: Query) -> pd.DataFrame:
    """The items asked for with their coordinates at the layer."""
    at = run.items.place(query.layer or 0)
    places = asked(run, query, at)
    found = run.items.rows.iloc[places].astype(str)
    return found.assign(
        layer=run.items.layers[at], refusal=run.items.refusal[at][places], drift=run.items.drift[at][places]
    )


VIEW = View(
    "plane",
    "Plane",
    "Each item by its drift strength and its refusal coordinate",
    ("layer", "condition", *FILTERS, "density"),
    show,
    data,
    "refusal_drift_plane",
)
