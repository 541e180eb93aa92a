"""Marks that figures share: lines with interval bands, interval bars, and point clouds with their density."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.ndimage import gaussian_filter

from regap.figures.drawing import style
from regap.figures.drawing.items import Items, thinned

SYMBOLS = {"harmful": "circle", "harmless": "x-thin"}
LONGEST_NAME = 60
"""Most letters of a name in a hover label."""
CELLS = 64
"""Cells per side of the grid for density."""
LEAST_FOR_DENSITY = 20
"""Fewest items for contours."""
WEBGL_FROM = 10_000


def line_in_band(
    rows: pd.DataFrame,
    x: str,
    name: str,
    colour: str,
    *,
    dash: str = "solid",
    symbol: str = "circle",
    **common: Any,
) -> list[go.Scatter]:
    """Return the band from low to high and the line of values, as one entry of the legend."""
    rows = rows.sort_values(x)
    group = common.pop("legendgroup", name)
    band = go.Scatter(
        **band_points(rows, x),
        fill="toself",
        fillcolor=style.clear(colour, 0.14),
        line={"width": 0},
        hoverinfo="skip",
        name=name,
        legendgroup=group,
        **{**common, "showlegend": False},
        mode="lines",
    )
    line = go.Scatter(
        **line_points(rows, x),
        mode="lines+markers",
        line={"color": colour, "width": 2.2, "dash": dash},
        marker={"size": 6, "symbol": symbol, "color": colour},
        name=name,
        legendgroup=group,
        hovertemplate=hover(name, x),
        **common,
    )
    return [band, line]


def band_points(rows: pd.DataFrame, x: str) -> dict[str, list[int | float]]:
    """Return the outline of the band, for rows with both ends of the interval."""
    known = rows[np.isfinite(rows["low"]) & np.isfinite(rows["high"])].sort_values(x)
    return {
        "x": [*known[x], *known[x][::-1]],
        "y": [*known["high"], *known["low"][::-1]],
    }


def line_points(rows: pd.DataFrame, x: str) -> dict[str, list[Any]]:
    """The values in order of x, with low, high and n for the hover text."""
    rows = rows.sort_values(x)
    return {
        "x": rows[x].tolist(),
        "y": rows["value"].tolist(),
        "customdata": rows[["low", "high", "n"]].to_numpy().tolist(),
    }


def hover(name: str, x: str) -> str:
    """The hover text of a line: name, place, value, interval, n."""
    return (
        f"<b>{name}</b><br>{x} %{{x}}<br>%{{y:.3g}}  [%{{customdata[0]:.3g}}, %{{customdata[1]:.3g}}]"
        "<br>n = %{customdata[2]:,}<extra></extra>"
    )


def bars(values: pd.Series, low: pd.Series, high: pd.Series, colour: str) -> dict[str, Any]:
    """Return error bars from low to high; an unknown end has no bar."""
    at, below, above = (np.asarray(numbers, dtype=float) for numbers in (values, low, high))
    return {
        "type": "data",
        "symmetric": False,
        "array": np.nan_to_num(above - at, nan=0.0).clip(0).tolist(),
        "arrayminus": np.nan_to_num(at - below, nan=0.0).clip(0).tolist(),
        "color": style.clear(colour, 0.6),
        "thickness": 1.4,
        "width": 3,
    }


def marked_at(x: int | float, text: str = "") -> dict[str, Any]:
    """Return the arguments of `add_vline` for a dotted line at x, with a note at its top."""
    note = {"annotation": {"text": text, "font": {"size": 11, "color": style.FAINT}}} if text else {}
    line = {"dash": "dot", "color": style.FAINT, "width": 1.3}
    return {"x": x, "line": line, **note, **({"annotation_position": "top left"} if text else {})}


def groups(items: Items, places: np.ndarray) -> list[tuple[str, str, np.ndarray]]:
    """(arm, label, places) of the items at these places, arms in their usual order; empty groups are left out."""
    rows = items.rows.iloc[places]
    arms = sorted(rows["arm"].unique(), key=style.arm_order)
    found = [
        (arm, label, places[((rows["arm"] == arm) & (rows["label"] == label)).to_numpy()])
        for arm in arms
        for label in style.LABELS
    ]
    return [group for group in found if len(group[2])]


def sampled(items: Items, places: np.ndarray, most: int) -> np.ndarray:
    """Return at most about `most` of these places, a fixed random sample in proportion to arms and classes."""
    rows = items.rows.iloc[places]
    group = rows["arm"].cat.codes.to_numpy(np.int64) * 2 + (rows["label"] == "harmful").to_numpy()
    return thinned(places, group, len(items), most)


def clouds(
    items: Items, places: np.ndarray, x: np.ndarray, y: np.ndarray, *, clickable: bool = False, **common: Any
) -> list[go.Scatter | go.Scattergl]:
    """Return the items at these places as points, one trace for each arm and class; x and y hold all items.

    clickable: the legend separates classes, a click chooses an item, and WebGL is used, as it is for many points.
    """
    colours = style.arm_colours(items.rows["arm"].cat.categories)
    mark = go.Scattergl if clickable or len(places) > WEBGL_FROM else go.Scatter
    first: set[str] = set()
    traces = []
    for arm, label, at in groups(items, places):
        name = style.arm_label(arm)
        of_class = {
            "name": f"{name}, {label}",
            "customdata": items.rows["pair_id"].iloc[at].astype(object).to_numpy(),
        }
        of_arm = {"name": name, "legendgroup": arm, "showlegend": arm not in first}
        first.add(arm)
        named = items.rows[["pair_id", "category"]].iloc[at].astype(object).to_numpy()
        edge = {"width": 1.4 if label == "harmless" else 0, "color": style.clear(colours[arm], 0.8)}
        marker = {"symbol": SYMBOLS[label], "size": 6, "color": style.clear(colours[arm], 0.55), "line": edge}
        traces.append(
            mark(
                x=x[at],
                y=y[at],
                mode="markers",
                marker=marker,
                text=[f"{short_name(pair)} · {short_name(category)}" for pair, category in named],
                meta={"select": "item", "arm": arm},
                hovertemplate=f"<b>%{{text}}</b><br>{name}, {label}<br>δ %{{x:.3g}} · z %{{y:.3g}}<extra></extra>",
                **{**(of_class if clickable else of_arm), **common},
            )
        )
    return traces


def short_name(text: object) -> str:
    """Return a name for a hover label, shortened and escaped."""
    words = str(text)
    return style.shown(words if len(words) <= LONGEST_NAME else words[:LONGEST_NAME] + " …")


def density(
    items: Items, places: np.ndarray, x: np.ndarray, y: np.ndarray, span: tuple[float, float, float, float]
) -> list[go.Contour]:
    """Return contours of the smoothed density of the items at these places, harmful solid and harmless dotted."""
    colours = style.arm_colours(items.rows["arm"].cat.categories)
    x0, x1, y0, y1 = span
    found = []
    for arm, label, at in groups(items, places):
        if len(at) < LEAST_FOR_DENSITY:
            continue
        counts, xs, ys = np.histogram2d(x[at], y[at], CELLS, [[x0, x1], [y0, y1]])
        smooth = gaussian_filter(counts, 1.4).T
        dash = "solid" if label == "harmful" else "dot"
        found.append(
            go.Contour(
                z=(smooth / (float(smooth.max()) or 1.0)).astype(np.float32),
                x=(xs[:-1] + xs[1:]) / 2,
                y=(ys[:-1] + ys[1:]) / 2,
                contours={"coloring": "none", "start": 0.2, "end": 0.8, "size": 0.3},
                line={"color": style.clear(colours[arm], 0.9), "width": 1.4, "dash": dash},
                showscale=False,
                showlegend=False,
                hoverinfo="skip",
            )
        )
    return found


def rings(x: np.ndarray, y: np.ndarray, sizes: list[int]) -> list[go.Scattergl]:
    """Return rings of these sizes in pixels around chosen items; empty if none is chosen."""
    ring = {"symbol": "circle-open", "size": sizes, "color": style.INK, "line": {"width": 2.4}}
    look = {"mode": "markers", "marker": ring, "name": "chosen", "hoverinfo": "skip", "showlegend": False}
    return [go.Scattergl(x=x, y=y, **look)] if sizes else []


def span_of(*values: np.ndarray | list[float]) -> tuple[float, float]:
    """Return the range of the finite values, with a margin of a twentieth on either side."""
    finite = np.concatenate([np.asarray(each, float) for each in values])
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return -1.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    spare = 0.05 * (high - low) or 0.5
    return low - spare, high + spare
