"""Where each prompt lies: how far it drifted, and how far along the refusal direction it stands."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.menus import MenuView, view_menu, views
from regap.figures.drawing.wording import caption_of

MOST_POINTS = 3000
MOST_NUMBERS = 400_000
WEBGL_FROM = 10_000
SYMBOLS = {"harmful": "circle", "harmless": "x-thin"}


def draw(
    coordinates: Record,
    *,
    threshold: Mapping[int, float] | None = None,
    chosen_layer: int | None = None,
    most_points: int = MOST_POINTS,
) -> go.Figure:
    """Every prompt at (drift strength, refusal coordinate), a slider and a play button going through the layers.

    coordinates: the table of that name; when it holds more than `most_points` prompts per condition, a fixed
    draw of them, the same at each layer and for each arm and class in proportion. threshold: for each layer
    the refusal coordinate that splits the classes best on text. chosen_layer: shown first; else the last.
    """
    found = split(coordinates.table, most_points)
    layers = sorted(coordinates.table["layer"].unique().tolist())
    start = layers.index(chosen_layer) if chosen_layer in layers else len(layers) - 1
    figure, groups, owner = go.Figure(), [], []
    for place, view in enumerate(found):
        colours = style.arm_colours(view.rows["arm"])
        heavy = len(view.rows) / len(layers) > WEBGL_FROM
        for arm, colour in colours.items():
            for label in style.LABELS:
                rows = view.rows[(view.rows["arm"] == arm) & (view.rows["label"] == label)]
                if len(rows):
                    groups.append(rows)
                    owner.append(place)
                    figure.add_trace(cloud(rows, layers[start], arm, label, colour, heavy, place == 0))
    figure.frames = [frame(layer, groups, threshold) for layer in layers]
    style.dress(
        figure,
        "Prompts by drift and refusal",
        "Circles are harmful, crosses harmless"
        + ("; dotted: the threshold fitted on text" if threshold else ""),
    )
    figure.update_xaxes(title_text="drift strength δ (0 = average text, 1 = average image)")
    figure.update_yaxes(title_text="refusal coordinate z (residual-stream units)")
    figure.update_layout(figure.frames[start].layout)
    figure.update_layout(
        updatemenus=[play_button(), *view_menu(found, owner)],
        sliders=[layer_slider(layers, start)],
        margin={"b": 120},
        legend={"itemsizing": "constant"},
    )
    return figure


def caption(coordinates: Record, *, most_points: int = MOST_POINTS) -> str:
    """What the figure shows, how many prompts were drawn of how many, and what is the paper's."""
    table = coordinates.table
    shown = split(table, most_points)[0].rows
    layers = table["layer"].nunique()
    all_of_them = len(split(table, None)[0].rows) // layers
    drawn = len(shown) // layers
    return caption_of(
        "Each point is one prompt in one arm, at the output of one block; circles are harmful, crosses harmless.",
        "The axes are fitted to each layer anew, since residual streams grow with depth.",
        f"n = {drawn:,} points per layer"
        + (f", a fixed random draw from {all_of_them:,}." if drawn < all_of_them else ", all of them."),
        "The dotted line, when drawn, is the threshold fitted on text.",
        "That drift squeezes the classes together along the refusal direction is the paper's claim; "
        "the two coordinates are our operationalisation.",
    )


def split(table: pd.DataFrame, most_points: int | None) -> list[MenuView]:
    """One view per model and condition, each thinned to the points that may be drawn."""
    found = views(
        table,
        {"model": style.shown, "condition": lambda name: style.CONDITIONS.get(name, (style.shown(name),))[0]},
        order=lambda name: ([*style.CONDITIONS, name].index(name), name),
    )
    if most_points is None:
        return found
    budget = min(most_points, MOST_NUMBERS // (2 * table["layer"].nunique() * len(found)))
    return [MenuView(view.label, thinned(view.rows, budget)) for view in found]


def thinned(rows: pd.DataFrame, most_points: int) -> pd.DataFrame:
    """At most about `most_points` prompts, the same ones at each layer: a seeded draw in each arm and class."""
    prompts = rows[["arm", "label", "pair_id"]].drop_duplicates().sort_values(["arm", "label", "pair_id"])
    if len(prompts) <= most_points:
        return rows
    share = most_points / len(prompts)
    generator = np.random.default_rng(0)
    kept = [
        group.iloc[np.sort(generator.permutation(len(group))[: max(1, int(share * len(group)))])]
        for _, group in prompts.groupby(["arm", "label"])
    ]
    return rows.merge(pd.concat(kept), on=["arm", "label", "pair_id"])


def cloud(
    rows: pd.DataFrame, layer: int, arm: str, label: str, colour: str, heavy: bool, visible: bool
) -> go.Scatter | go.Scattergl:
    """The prompts of one arm and class at one layer; drawn by WebGL when there are many."""
    names = rows.drop_duplicates("pair_id").sort_values("pair_id")
    marker = {
        "symbol": SYMBOLS[label],
        "size": 6,
        "color": style.clear(colour, 0.55),
        "line": {"width": 1.4 if label == "harmless" else 0, "color": style.clear(colour, 0.75)},
    }
    return (go.Scattergl if heavy else go.Scatter)(
        **points(rows, layer),
        text=[
            f"{style.shown(pair)} · {style.shown(kind)}"
            for pair, kind in names[["pair_id", "category"]].to_numpy()
        ],
        mode="markers",
        marker=marker,
        name=style.arm_label(arm),
        showlegend=label == next(iter(style.LABELS)),
        legendgroup=arm,
        visible=visible,
        hovertemplate=f"<b>%{{text}}</b><br>{style.arm_label(arm)}, {label}<br>"
        "drift δ %{x:.3g}<br>refusal z %{y:.3g}<extra></extra>",
    )


def points(rows: pd.DataFrame, layer: int) -> dict[str, list[int | float]]:
    """The coordinates at a layer, in order of pair, to four significant digits (a hundredth of a pixel)."""
    at = rows[rows["layer"] == layer].sort_values("pair_id")
    return {
        axis: [float(f"{number:.4g}") for number in at[column]]
        for axis, column in (("x", "drift"), ("y", "refusal"))
    }


def frame(layer: int, groups: list[pd.DataFrame], threshold: Mapping[int, float] | None) -> go.Frame:
    """All the clouds at one layer, the axes that hold them, and the threshold."""
    at = pd.concat([rows[rows["layer"] == layer] for rows in groups])
    cut = None if threshold is None else threshold.get(layer)
    refusal = [*at["refusal"], *([] if cut is None else [cut])]
    line = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "line": {"dash": "dot", "color": style.INK, "width": 1.5},
    }
    return go.Frame(
        name=str(layer),
        data=[points(rows, layer) for rows in groups],
        traces=list(range(len(groups))),
        layout={
            "xaxis": {"range": padded(at["drift"])},
            "yaxis": {"range": padded(refusal)},
            "shapes": [] if cut is None else [{**line, "y0": cut, "y1": cut}],
        },
    )


def padded(values: pd.Series | list[float]) -> list[float]:
    """The range of the values with a twentieth of it to spare on either side."""
    low, high = float(np.min(values)), float(np.max(values))
    spare = 0.05 * (high - low) or 0.5
    return [low - spare, high + spare]


def step(duration: int) -> dict[str, object]:
    """How the figure goes from one layer to the next."""
    return {
        "frame": {"duration": duration, "redraw": True},
        "transition": {"duration": 0},
        "mode": "immediate",
        "fromcurrent": True,
    }


def play_button() -> dict[str, object]:
    """A button that goes through the layers, and one that stops."""
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
