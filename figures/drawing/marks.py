"""The marks that figures share: a line in its interval band, and points with interval bars."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from regap.figures.drawing import style


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
    """The band from low to high and the line of values over it, as one entry of the legend."""
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
    """The outline of the band, where both ends of the interval are known."""
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
    """Error bars that reach from low to high; where an end is unknown there is none."""
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
