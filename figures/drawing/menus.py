"""Choose the rows that a figure shows, by options beforehand or by menus in the figure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd
import plotly.graph_objects as go

from regap.figures.drawing import style
from regap.figures.drawing.marks import band_points, line_points

LOOK = {
    "type": "dropdown",
    "y": 1.08,
    "yanchor": "bottom",
    "bgcolor": "white",
    "bordercolor": "#B8B8B8",
    "font": {"size": 12},
    "showactive": True,
}
OVER_PLOT = {**LOOK, "x": 1, "xanchor": "right"}
OVER_LEGEND = {**LOOK, "x": 1.02, "xanchor": "left"}
Marks = tuple[int | None, int | None, Sequence[Any]]
"""Row, column and traces; no row and column in a figure without panels."""
NO_WORDS: Mapping[str, Mapping[str, str]] = {}
SEPARABILITY = ("d_prime", "auroc", "usable", "gap")
"""Measures of separability, in the order of menus."""


def rows_with(table: pd.DataFrame, **wanted: str | int | tuple[str, ...] | None) -> pd.DataFrame:
    """Return the rows with one of these values in each column; None or an empty value keeps all rows.

    Raises ValueError, with the known values, if no row is left.
    """
    for column, value in wanted.items():
        if value is None or value in ("", ()):
            continue
        values = value if isinstance(value, tuple) else (value,)
        kept = table[table[column].isin(values)]
        if kept.empty:
            known = ", ".join(map(str, sorted(table[column].unique())))
            raise ValueError(
                f"{column} {', '.join(map(str, values))} is not in the table; choose one of {known}"
            )
        table = kept
    return table


@dataclass(frozen=True, eq=False)
class MenuView:
    """One choice of a menu: its label and the rows it shows."""

    label: str
    rows: pd.DataFrame


View = TypeVar("View", bound=MenuView)


def views(
    table: pd.DataFrame, columns: Sequence[str], words: Mapping[str, Mapping[str, str]] = NO_WORDS
) -> list[MenuView]:
    """Return the table split by these columns; a view is named after the columns that differ between views.

    words: names of a column's values, in order; other columns use the common names and order.
    """
    varying = [column for column in columns if table[column].nunique() > 1]
    if not varying:
        return [MenuView("all", table)]
    said = {**style.WORDS, **{column: known.__getitem__ for column, known in words.items()}}
    orders = {column: list(known) for column, known in {**style.ORDERS, **words}.items()}

    def place(group: tuple[tuple[Any, ...], pd.DataFrame]) -> list[tuple[int, Any]]:
        known = [orders.get(column, []) for column in varying]
        return [
            (order.index(value) if value in order else len(order), value)
            for order, value in zip(known, group[0], strict=True)
        ]

    return [
        MenuView(" · ".join(said[column](value) for column, value in zip(varying, key, strict=True)), rows)
        for key, rows in sorted(table.groupby(varying, sort=False), key=place)
    ]


def add_views(
    figure: go.Figure, found: Sequence[View], marks: Callable[[View, bool], Iterable[Marks]]
) -> list[dict[str, Any]]:
    """Draw every view, and return a menu that shows one of them at a time; it is empty if there is only one view.

    marks: from a view, and whether it is shown at first, to its traces with their row and column of panels.
    """
    owner = []
    for place, view in enumerate(found):
        for row, column, traces in marks(view, place == 0):
            figure.add_traces(traces, rows=row, cols=column)
            owner += [place] * len(traces)
    if len(found) < 2:
        return []
    buttons = [
        {"label": view.label, "method": "restyle", "args": [{"visible": [each == place for each in owner]}]}
        for place, view in enumerate(found)
    ]
    return [{**OVER_PLOT, "buttons": buttons}]


def measure_menu(
    measures: Sequence[str],
    drawn: Sequence[pd.DataFrame],
    x: str,
    title: Callable[[str], Mapping[str, Any]],
    *places: Any,
) -> list[dict[str, Any]]:
    """Return a menu that redraws bands and lines over x with another measure; empty if there is only one measure.

    drawn: for each line, the rows of all its measures. title: further layout changes for a measure. places: the traces
    of bands and lines; by default all.
    """
    if len(measures) < 2:
        return []
    buttons = []
    for measure in measures:
        rows = [of_line[of_line["measure"] == measure] for of_line in drawn]
        points = [part for of_line in rows for part in (band_points(of_line, x), line_points(of_line, x))]
        change = {key: [part.get(key) for part in points] for key in ("x", "y", "customdata")}
        args = [change, {**title(measure), "yaxis.autorange": True}, *places]
        buttons.append({"label": style.short(measure), "method": "update", "args": args})
    return [{**OVER_LEGEND, "buttons": buttons}]
