"""View: coordinates of single items through the layers, before and after correction."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from regap.figures.drawing import style
from regap.figures.drawing.items import thinned
from regap.figures.drawing.style import dressed
from regap.figures.explorer.run.explored import ExploredRun
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.views.plane import asked
from regap.figures.explorer.views.view import FILTERS, Shown, View

MOST_LINES = 120
MOST_BAND = 4000
DASHES = {"baseline": "solid", "fixed": "dash", "regap": "dot"}
AXES = (("refusal", "refusal coordinate z"), ("drift", "drift strength δ"))


def show(run: ExploredRun, query: Query) -> Shown:
    """Return a sample of items as pale lines, medians of both classes, and the chosen item under every condition."""
    items = run.items
    places = asked(run, query, items.place(query.layer or 0))
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.09)
    harmful = (items.rows["label"].iloc[places] == "harmful").to_numpy()
    for column, (name, title) in enumerate(AXES, 1):
        values = getattr(items, name)
        for label, (_, colour) in style.LABELS.items():
            own = places[harmful if label == "harmful" else ~harmful]
            if len(own):
                figure.add_trace(sample(run, own, values, label, colour), 1, column)
                figure.add_trace(median(items.layers, own, values, label, colour, column == 1), 1, column)
        figure.add_traces(chosen_item(run, query, values, column == 1), rows=1, cols=column)
        figure.update_yaxes(title_text=title, row=1, col=column)
    dressed(figure)
    figure.update_xaxes(title_text="layer", dtick=style.layer_steps(items.layers))
    if query.layer is not None:
        figure.add_vline(x=query.layer, line={"dash": "dot", "color": style.FAINT, "width": 1.2})
    drawn = min(len(places), MOST_LINES)
    told = (
        "The chosen item is black, white on dark paper." if query.item else "Click a line to choose an item."
    )
    return Shown(figure, caption=f"{drawn:,} of {len(places):,} items in pale lines; thick: medians. {told}")


def sample(run: ExploredRun, places: np.ndarray, values: np.ndarray, label: str, colour: str) -> go.Scattergl:
    """Return some items as one trace of pale lines with gaps between them; a click chooses one."""
    layers, rows = run.items.layers, run.items.rows
    kept = thinned(places, np.zeros(len(places)), len(rows), MOST_LINES // 2)
    gaps = np.full((1, len(kept)), np.nan, np.float32)
    return go.Scattergl(
        x=np.tile(np.array([*layers, np.nan], np.float32), len(kept)),
        y=np.concatenate([values[:, kept], gaps]).T.ravel(),
        mode="lines",
        line={"color": style.clear(colour, 0.16), "width": 1},
        customdata=np.repeat(rows[["pair_id", "arm"]].iloc[kept].astype(object), len(layers) + 1, axis=0),
        meta={"select": "item"},
        name=label,
        showlegend=False,
        hoverinfo="none",
    )


def median(
    layers: tuple[int, ...], places: np.ndarray, values: np.ndarray, label: str, colour: str, legend: bool
) -> go.Scatter:
    """Return the median of the items at each layer; of a sample if there are very many."""
    kept = thinned(places, np.zeros(len(places)), values.shape[1], MOST_BAND)
    return go.Scatter(
        x=list(layers),
        y=np.nanmedian(values[:, kept], axis=1),
        mode="lines",
        line={"color": colour, "width": 3.2},
        name=f"median, {label}",
        showlegend=legend,
        hovertemplate=f"median, {label}<br>layer %{{x}}: %{{y:.3g}}<extra></extra>",
    )


def chosen_item(run: ExploredRun, query: Query, values: np.ndarray, legend: bool) -> list[go.Scatter]:
    """The chosen item in its arm, one line per condition; dots mark the layers."""
    if not query.item:
        return []
    rows = run.items.of(query.item)
    rows = rows[rows["arm"] == query.item_arm]
    lines = []
    for place, condition in zip(rows.index, rows["condition"], strict=True):
        label = style.condition_label(condition)
        lines.append(
            go.Scatter(
                x=list(run.items.layers),
                y=values[:, place],
                mode="lines+markers",
                line={"color": style.BLACK, "width": 2.2, "dash": DASHES.get(condition, "longdash")},
                marker={"size": 5},
                name=f"chosen, {label}",
                showlegend=legend,
                hovertemplate=f"chosen item, {label}<br>layer %{{x}}: %{{y:.3g}}<extra></extra>",
            )
        )
    return lines


def data(run: ExploredRun, query: Query) -> pd.DataFrame:
    """Return the selected items at every layer, one row for each."""
    items = run.items
    places = asked(run, query, items.place(query.layer or 0))
    found = items.rows.iloc[np.repeat(places, len(items.layers))].astype(str)
    return found.assign(
        layer=np.tile(items.layers, len(places)),
        refusal=items.refusal[:, places].T.ravel(),
        drift=items.drift[:, places].T.ravel(),
    )


VIEW = View(
    "trajectories",
    "Trajectories",
    "How single items move through the layers",
    ("condition", "layer", *FILTERS),
    show,
    data,
)
