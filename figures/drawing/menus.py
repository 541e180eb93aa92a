"""The dropdowns that figures share: choose which rows are shown, or which measure is drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

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


@dataclass(frozen=True, eq=False)
class MenuView:
    """One choice of a menu: what it is called, and the rows it shows."""

    label: str
    rows: pd.DataFrame


def views(
    table: pd.DataFrame,
    columns: Mapping[str, Callable[[Any], str]],
    order: Callable[[str], Any] = str,
) -> list[MenuView]:
    """The table split by these columns; a view is called by those columns that differ between views.

    columns: for each column how its value is written. order: how values are sorted within a column.
    """
    varying = [column for column in columns if table[column].nunique() > 1]
    if not varying:
        return [MenuView("all", table)]
    found = [
        MenuView(" · ".join(columns[column](value) for column, value in zip(varying, key, strict=True)), rows)
        for key, rows in table.groupby(varying, sort=False)
    ]
    place = {id(view): [order(str(view.rows[column].iloc[0])) for column in varying] for view in found}
    return sorted(found, key=lambda view: place[id(view)])


def view_menu(found: Sequence[MenuView], owner: Sequence[int | None]) -> list[dict[str, Any]]:
    """A menu that shows one view's traces at a time; none when there is one view.

    owner: for each trace the view it belongs to, None for traces that are always shown.
    """
    if len(found) < 2:
        return []
    buttons = [
        {
            "label": view.label,
            "method": "restyle",
            "args": [{"visible": [which in (None, place) for which in owner]}],
        }
        for place, view in enumerate(found)
    ]
    return [{**OVER_PLOT, "buttons": buttons}]
