"""Every prompt by drift strength and refusal coordinate."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.errors import ConfigError
from regap.figures.drawing import style
from regap.figures.drawing.items import Items, items_of
from regap.figures.drawing.marks import clouds, density, groups, rings, sampled, span_of
from regap.figures.drawing.menus import Marks, MenuView, add_views, views
from regap.figures.drawing.style import caption_of

MOST_POINTS = 3000
MOST_NUMBERS = 400_000
MOST_AT_ONE_LAYER = 6000
"""Most points drawn at one layer; more would overlap."""


@dataclass(frozen=True, eq=False)
class PlaneView(MenuView):
    """One choice of the menu: the items of a model under a condition; `rows` is indexed by place in the arrays."""

    items: Items

    @property
    def places(self) -> np.ndarray:
        """The indices of its items in the arrays."""
        return self.rows.index.to_numpy()

    def thinned(self, most: int) -> "PlaneView":
        """Return the same view with at most about `most` items."""
        return replace(self, rows=self.rows.loc[sampled(self.items, self.places, most)])


def draw(
    coordinates: Record,
    *,
    threshold: Mapping[int, float] | None = None,
    chosen_layer: int | None = None,
    layer: int | None = None,
    arms: tuple[str, ...] = (),
    most_points: int = MOST_POINTS,
) -> go.Figure:
    """Return every prompt at (drift strength, refusal coordinate), with a slider and a play button for the layers.

    coordinates: the table of that name; of more than `most_points` prompts per condition a fixed random sample is
    drawn, the same at each layer, in proportion to arms and classes. threshold: the text-fitted threshold at each
    layer; not drawn if the table holds several models. chosen_layer: the layer shown first; default: the last. layer:
    draw only this layer, without a slider, with density contours of all prompts; only the first of several views.
    arms: draw only these; empty: all.
    """
    found = split(coordinates.table, arms)
    if len({id(view.items) for view in found}) > 1:
        threshold = None
    layers = sorted(coordinates.table["layer"].unique().tolist())
    if layer is not None:
        if layer not in layers:
            raise ConfigError(f"layer={layer} was not read; choose a layer from {layers[0]} to {layers[-1]}")
        return titled(
            at_layer(found[0].items, found[0].places, layer, threshold=threshold, contours=True), threshold
        )
    start = layers.index(chosen_layer) if chosen_layer in layers else len(layers) - 1
    budget = min(most_points, MOST_NUMBERS // (2 * len(layers) * len(found)))
    shown = [view.thinned(budget) for view in found]
    figure = go.Figure()

    def marks(view: PlaneView, visible: bool) -> list[Marks]:
        items, at = view.items, view.items.place(layers[start])
        return [(None, None, clouds(items, view.places, items.drift[at], items.refusal[at], visible=visible))]

    menu = add_views(figure, shown, marks)
    drawn = [(view, at) for view in shown for _, _, at in groups(view.items, view.places)]
    figure.frames = [frame(layer, drawn, threshold) for layer in layers]
    for trace, points in zip(figure.data, figure.frames[start].data, strict=True):
        trace.update(x=points.x, y=points.y)
    titled(figure, threshold)
    figure.update_layout(figure.frames[start].layout)
    figure.update_layout(
        updatemenus=[play_button(), *menu],
        sliders=[layer_slider(layers, start)],
        margin={"b": 120},
    )
    return figure


def at_layer(
    items: Items,
    places: np.ndarray,
    layer: int,
    *,
    threshold: Mapping[int, float] | None = None,
    window: tuple[float, ...] = (),
    contours: bool = False,
    chosen: Mapping[int, int] | None = None,
    clickable: bool = False,
) -> go.Figure:
    """Return the items at these places at one layer.

    window: (x0, x1, y0, y1) of the visible part; only items inside it are drawn, if there are any. contours: draw the
    density of all items. chosen: places of items that get a ring, with its size in pixels. clickable: for a page that
    handles clicks.
    """
    at = items.place(layer)
    x, y = items.drift[at], items.refusal[at]
    cut = (threshold or {}).get(items.layers[at])
    span = (*span_of(x[places]), *span_of(y[places], [] if cut is None else [cut]))
    seen = inside(places, x, y, window) if window else places
    figure = go.Figure(clouds(items, sampled(items, seen, MOST_AT_ONE_LAYER), x, y, clickable=clickable))
    if contours:
        figure.add_traces(density(items, places, x, y, span))
    ringed = list(chosen or {})
    figure.add_traces(rings(x[ringed], y[ringed], list((chosen or {}).values())))
    figure.update_layout(layout_of(window or span, cut))
    return axes_named(figure)


def inside(places: np.ndarray, x: np.ndarray, y: np.ndarray, window: tuple[float, ...]) -> np.ndarray:
    """Return the places of items inside the window; all of them if none is."""
    x0, x1, y0, y1 = window
    kept = places[(x[places] >= x0) & (x[places] <= x1) & (y[places] >= y0) & (y[places] <= y1)]
    return kept if len(kept) else places


def axes_named(figure: go.Figure) -> go.Figure:
    """The figure with the names of the two coordinates."""
    figure.update_xaxes(title_text="drift strength δ (0 = average text, 1 = average image)")
    figure.update_yaxes(title_text="refusal coordinate z (residual-stream units)")
    return figure.update_layout(legend_itemsizing="constant")


def titled(figure: go.Figure, threshold: Mapping[int, float] | None) -> go.Figure:
    """The figure with its title and the names of its axes."""
    dotted = "; dotted line: the threshold fitted on text" if threshold else ""
    style.dress(figure, "Prompts by drift and refusal", f"Circles are harmful, crosses harmless{dotted}")
    return axes_named(figure)


def caption(
    coordinates: Record,
    *,
    layer: int | None = None,
    arms: tuple[str, ...] = (),
    most_points: int = MOST_POINTS,
) -> str:
    """Return the caption: what is shown, how many of the prompts are drawn, and what is the paper's."""
    found = split(coordinates.table, arms)
    view, most = found[0], MOST_AT_ONE_LAYER
    if layer is None:
        most = min(most_points, MOST_NUMBERS // (2 * coordinates.table["layer"].nunique() * len(found)))
    drawn, all_of_them = len(view.thinned(most).rows), len(view.rows)
    return caption_of(
        "Each point is one prompt in one arm, at the output of one block; circles are harmful, crosses harmless.",
        "The axes are scaled to each layer, since residual streams grow with depth." if layer is None else "",
        f"n = {drawn:,} points {'per layer' if layer is None else f'at layer {layer}'}"
        + (f", a fixed random sample of {all_of_them:,}." if drawn < all_of_them else ", all of them."),
        "" if layer is None else "Contours show the density of all prompts, harmful solid, harmless dotted.",
        "The dotted line, when drawn, is the threshold fitted on text.",
        "That drift squeezes the classes together along the refusal direction is the paper's claim; "
        "the two coordinates are our operationalisation.",
    )


def split(table: pd.DataFrame, arms: tuple[str, ...] = ()) -> list[PlaneView]:
    """Return one view per model and condition, without correction first."""
    models = {model: items_of(table, model) for model in table["model"].unique()}
    rows = pd.concat([items.rows.astype(str).assign(model=model) for model, items in models.items()])
    if arms and not rows["arm"].isin(arms).any():
        known = sorted(set(rows["arm"]), key=style.arm_order)
        raise ValueError(f"no prompt has arm {', '.join(arms)}; choose from {', '.join(known)}")
    found = views(rows[rows["arm"].isin(arms)] if arms else rows, ("model", "condition"))
    return [PlaneView(each.label, each.rows, models[each.rows["model"].iloc[0]]) for each in found]


def frame(
    layer: int, drawn: list[tuple[PlaneView, np.ndarray]], threshold: Mapping[int, float] | None
) -> go.Frame:
    """Return all clouds at one layer, with axes and threshold; a cloud is empty if its model has no such layer.

    drawn: for each cloud, its view and the places of its items.
    """
    points = []
    for view, places in drawn:
        at = view.items.place(layer)
        kept = places if layer in view.items.layers else places[:0]
        points.append((view.items.drift[at][kept], view.items.refusal[at][kept]))
    cut = (threshold or {}).get(layer)
    across, up = zip(*points, strict=True)
    window = (*span_of(*across), *span_of(*up, [] if cut is None else [cut]))
    return go.Frame(
        name=str(layer),
        data=[{"x": rounded(x), "y": rounded(y)} for x, y in points],
        traces=list(range(len(points))),
        layout=layout_of(window, cut),
    )


def rounded(numbers: np.ndarray) -> list[float]:
    """Return the numbers with four significant digits (about 0.01 pixel), to keep the page with all layers small."""
    return [float(f"{number:.4g}") for number in numbers]


def layout_of(window: tuple[float, ...], cut: float | None) -> dict[str, object]:
    """Return the axes of the window, and the threshold line."""
    across = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "line": {"dash": "dot", "color": style.INK, "width": 1.5},
    }
    return {
        "xaxis": {"range": list(window[:2])},
        "yaxis": {"range": list(window[2:])},
        "shapes": [] if cut is None else [{**across, "y0": cut, "y1": cut}],
    }


def step(duration: int) -> dict[str, object]:
    """Return the animation settings from one layer to the next."""
    return {
        "frame": {"duration": duration, "redraw": True},
        "transition": {"duration": 0},
        "mode": "immediate",
        "fromcurrent": True,
    }


def play_button() -> dict[str, object]:
    """Return a button that plays through the layers, and one that stops."""
    buttons = [
        {"label": "▶ play", "method": "animate", "args": [None, step(700)]},
        {"label": "❚❚ pause", "method": "animate", "args": [[None], step(0)]},
    ]
    return {
        "type": "buttons",
        "direction": "left",
        "buttons": buttons,
        "showactive": False,
        "x": 0,
        "xanchor": "left",
        "y": -0.2,
        "yanchor": "top",
        "bgcolor": "white",
        "bordercolor": "#B8B8B8",
        "font": {"size": 12},
    }


def layer_slider(layers: list[int], start: int) -> dict[str, object]:
    """A slider with one stop per layer."""
    stops = [{"label": str(layer), "method": "animate", "args": [[str(layer)], step(0)]} for layer in layers]
    return {
        "active": start,
        "steps": stops,
        "currentvalue": {"prefix": "layer ", "xanchor": "right", "font": {"size": 13}},
        "x": 0.2,
        "len": 0.8,
        "y": -0.16,
        "yanchor": "top",
        "pad": {"t": 0},
        "ticklen": 4,
    }
