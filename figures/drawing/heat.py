"""Heat maps of estimates: one estimate per cell, with its interval in the hover text."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from regap.figures.drawing import style
from regap.figures.drawing.menus import Marks, MenuView, add_views

BLUE_TO_RED = [(0.0, style.BLUE), (0.5, "#FFFFFF"), (1.0, style.VERMILLION)]
FROM_WHITE = [(0.0, "#FFFFFF"), (1.0, style.VERMILLION)]


def heat_map(
    rows: pd.DataFrame,
    across: str,
    down: str,
    order: Sequence[Any],
    labels: Sequence[str],
    *,
    bound: float,
    unit: str,
    centred: bool = True,
    **common: Any,
) -> go.Heatmap:
    """Return a heat map of values by `across` and `down`, with rows in this order and colours from -bound to bound.

    centred: white is 0; otherwise the scale begins at 0. A dot marks a cell whose interval includes 0. Cells without
    an estimate are left empty.
    """
    columns = sorted(rows[across].unique())
    grid = {
        name: rows.pivot(index=down, columns=across, values=name).reindex(index=order, columns=columns)
        for name in ("value", "low", "high", "n")
    }
    open_cells = (grid["low"] <= 0) & (grid["high"] >= 0)
    share = unit == "share"
    number = ":.1%" if share and not centred else ":+.1%" if share else ":.3g" if not centred else ":+.3g"
    return go.Heatmap(
        z=gaps(grid["value"]),
        x=columns,
        y=list(labels),
        customdata=np.dstack([grid["low"], grid["high"], grid["n"]]).tolist(),
        text=[["·" if flag and centred else "" for flag in line] for line in open_cells.to_numpy().tolist()],
        texttemplate="%{text}",
        textfont={"color": style.FAINT, "size": 14},
        zmin=-bound if centred else 0,
        zmax=bound,
        colorscale=BLUE_TO_RED if centred else FROM_WHITE,
        xgap=1,
        ygap=1,
        hoverongaps=False,
        hovertemplate=f"<b>%{{y}}</b>, {across} %{{x}}<br>%{{z{number}}}  [%{{customdata[0]{number}}}, "
        f"%{{customdata[1]{number}}}]<br>n = %{{customdata[2]:,}}<extra></extra>",
        **common,
    )


def heat_figure(
    found: Sequence[MenuView], map_of: Callable[..., go.Heatmap], title: str, subtitle: str, height: int
) -> go.Figure:
    """Return a panel of heat maps over the layers for each label of the prompts, and a menu of the views.

    map_of: from a view, its rows of one label and further arguments of `heat_map` to the heat map.
    """
    table = pd.concat([view.rows for view in found])
    labels = [label for label in style.LABELS if label in set(table["label"])]
    figure = style.row_of_panels((f"{label} prompts" for label in labels), 0.04)

    def maps(view: MenuView, shown: bool) -> Iterator[Marks]:
        for column, label in enumerate(labels, 1):
            rows = view.rows[view.rows["label"] == label]
            if len(rows):
                yield 1, column, [map_of(view, rows, visible=shown, showscale=column == 1)]

    menu = add_views(figure, found, maps)
    style.dress(figure, title, subtitle)
    figure.update_xaxes(title_text="layer", showgrid=False, dtick=style.layer_steps(table["layer"]))
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    return figure.update_layout(updatemenus=menu, plot_bgcolor=style.RULE, margin={"t": 130}, height=height)


def colour_bar(text: str, tickformat: str) -> dict[str, Any]:
    """Return a thin colour bar with this title beside it."""
    title = {"text": text, "side": "right", "font": {"size": 12}}
    return {"title": title, "tickformat": tickformat, "thickness": 14}


def gaps(grid: pd.DataFrame) -> list[list[float | None]]:
    """Return the values of a grid, with None for missing ones."""
    return [[None if value != value else float(value) for value in line] for line in grid.to_numpy()]


def largest(values: pd.Series) -> float:
    """Return the bound of a colour scale: the largest absolute value, but not 0."""
    return max(float(values.abs().max()), 1e-6)
