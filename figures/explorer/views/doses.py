"""View: the effect of a strength on all prompts, and the items it moves at the edited layer."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import clouds, rings, sampled, span_of
from regap.figures.drawing.style import dressed
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.views.plane import asked, ringed
from regap.figures.explorer.views.view import FILTERS, Shown, View
from regap.figures.plots import dose_response
from regap.figures.plots.refusal_drift_plane import MOST_AT_ONE_LAYER

MOVING = ("D", "D_along", "D_across", "refusal")
"""Vectors whose effect on both coordinates follows from the run's directions."""


def show(run: ExploredRun, query: Query) -> Shown:
    """Return the measured curves with the strength marked, and the items at the edited layer, moved by it."""
    rows = data(run, query)
    layer = int(rows["layer"].iloc[0])
    figure = dose_response.draw(
        Record("strength", rows), measure=query.measure, dose=query.strength, beside=True
    )
    caption = cloud_at_strength(run, query, layer, figure)
    return Shown(dressed(figure), caption=caption)


def cloud_at_strength(run: ExploredRun, query: Query, layer: int, figure: go.Figure) -> str:
    """Draw the moved items at the edited layer, and return the caption."""
    try:
        items, (along, up) = run.items, move_of(run, query, layer)
        at = items.place(layer)
        places = asked(run, query, at)
    except Missing as error:
        return str(error)
    before = items.drift[at], items.refusal[at]
    x = before[0] - np.float32(query.strength * along)
    y = before[1] - np.float32(query.strength * up)
    drawn = sampled(items, places, MOST_AT_ONE_LAYER)
    figure.add_traces(clouds(items, drawn, x, y, clickable=True, showlegend=False), rows=1, cols=2)
    ring = ringed(run, query)
    figure.add_traces(rings(x[list(ring)], y[list(ring)], list(ring.values())), rows=1, cols=2)
    far = (-1.0, 3.0)
    spans = [
        span_of(*(of[places] - np.float32(strength * one) for strength in far))
        for of, one in zip(before, (along, up), strict=True)
    ]
    figure.update_xaxes(title_text=f"drift strength δ at layer {layer}", range=spans[0], row=1, col=2)
    figure.update_yaxes(title_text="refusal coordinate z", range=spans[1], row=1, col=2)
    return beyond(run, query, layer, places, y, figure)


def beyond(
    run: ExploredRun, query: Query, layer: int, places: np.ndarray, y: np.ndarray, figure: go.Figure
) -> str:
    """Draw the text-fitted threshold, and return the caption with the share of each class beyond it."""
    moved = (
        f"Right: {len(places):,} items at the edited layer {layer}, moved by exactly −{query.strength:g}·"
        f"{style.VECTORS[query.vector][0]}"
    )
    cut = run.thresholds.get(layer)
    if cut is None:
        return f"{moved}. Left: the measured effect on answers."
    figure.add_hline(y=cut, row=1, col=2, line={"dash": "dot", "color": style.INK, "width": 1.4})  # pyright: ignore[reportArgumentType]
    labels = run.items.rows["label"].iloc[places].to_numpy()
    shares = [
        f"{(y[places][labels == label] > cut).mean():.0%} of {label}"
        for label in style.LABELS
        if (labels == label).any()
    ]
    return (
        f"{moved}: {' and '.join(shares)} lie on the refusing side of the threshold fitted on text. "
        "Left: the measured effect on later layers and answers, with 95 % intervals."
    )


def move_of(run: ExploredRun, query: Query, layer: int) -> tuple[float, float]:
    """Return how far the query's vector at strength 1 moves δ and z of an item: projections on D/|D|² and on r."""
    tensors = run.directions()
    arm = run.summary.text("image_arm") or "typographic"
    if f"drift.{arm}" not in tensors or query.vector not in MOVING:
        raise Missing(
            f"The run does not store the vector {query.vector!r}; choose one of {', '.join(MOVING)}."
        )
    drift, refusal = tensors[f"drift.{arm}"][layer], tensors["refusal"][layer]
    along = float(drift @ refusal) * refusal
    size = float(np.linalg.norm(drift))
    moving = {"D": drift, "D_along": along, "D_across": drift - along, "refusal": size * refusal}[
        query.vector
    ]
    return float(moving @ drift) / size**2, float(moving @ refusal)


def data(run: ExploredRun, query: Query) -> pd.DataFrame:
    """The rows of the table that are drawn: one measure, the layer edited first, the run's own model."""
    record = run.record("strength")
    table = record.table
    if query.measure not in set(table["measure"]):
        raise Missing(f"The run has no measure {query.measure!r} of strengths; choose another measure.")
    removed = table[(table["direction"] == "correct") & (table["measure"] == query.measure)]
    arms = [arm for arm in query.arm if arm in set(removed["arm"])] or list(removed["arm"].unique())
    own = dose_response.chosen(
        record, measure=query.measure, arms=tuple(arms[:1]), model=run.own_model(table)
    )
    return own[own["layer"] == own["layer"].iloc[0]]


VIEW = View(
    "doses",
    "Doses",
    "The effect of removing the drift and of adding it, by strength",
    ("strength", "vector", "dose_measure", "condition", *FILTERS),
    show,
    data,
    "dose_response",
)
