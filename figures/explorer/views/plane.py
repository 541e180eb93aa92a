"""View: every item in the plane of drift and refusal, layer by layer."""

import numpy as np
import pandas as pd

from regap.figures.drawing.style import dressed
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query, chosen
from regap.figures.explorer.views.view import FILTERS, Shown, View
from regap.figures.plots import refusal_drift_plane


def show(run: ExploredRun, query: Query) -> Shown:
    """Return the items at one layer, harmful as circles and harmless as crosses, with their density."""
    items, layer = run.items, query.layer or 0
    at = items.place(layer)
    places = asked(run, query, at)
    figure = refusal_drift_plane.at_layer(
        items,
        places,
        layer,
        threshold=run.thresholds,
        window=query.zoom,
        contours=bool(query.density),
        chosen=ringed(run, query),
        clickable=True,
    )
    dressed(figure).update_layout(uirevision=f"{layer} {query.arm}", dragmode="pan")
    return Shown(figure, caption=caption(run, query, items.layers[at], places))


def asked(run: ExploredRun, query: Query, at: int) -> np.ndarray:
    """Return the indices of the selected items that were read at the layer; raises Missing if there are none."""
    read = np.isfinite(run.items.refusal[at]) & np.isfinite(run.items.drift[at])
    places = np.flatnonzero(chosen(run, query) & read)
    if not len(places):
        raise Missing("No item matches these filters; widen them, or choose another arm or condition.")
    return places


def ringed(run: ExploredRun, query: Query) -> dict[int, int]:
    """Return the indices of the chosen item in the shown arms, with the sizes of their rings."""
    if not query.item:
        return {}
    rows = run.items.of(query.item)
    rows = rows[(rows["condition"] == query.condition) & rows["arm"].isin(query.arm)]
    return {int(at): 18 if arm == query.item_arm else 12 for at, arm in rows["arm"].items()}


def caption(run: ExploredRun, query: Query, layer: int, places: np.ndarray) -> str:
    """Return the caption: the layer, and how many of the items are drawn."""
    at, most = run.items.place(layer), refusal_drift_plane.MOST_AT_ONE_LAYER
    x, y = run.items.drift[at], run.items.refusal[at]
    seen = len(refusal_drift_plane.inside(places, x, y, query.zoom)) if query.zoom else len(places)
    drawn = f"about {most:,} of {seen:,} drawn; zoom in for more" if seen > most else "all drawn"
    line = " Dotted: the threshold fitted on text." if layer in run.thresholds else ""
    return (
        f"Layer {layer}, {len(places):,} items, {drawn}. Contours show the density of all items, "
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
