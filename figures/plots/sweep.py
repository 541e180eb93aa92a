"""Heat maps of a sweep: the effect of a vector on image prompts at every layer and strength."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.heat import colour_bar, heat_figure, heat_map, largest
from regap.figures.drawing.menus import MenuView, views
from regap.figures.drawing.style import INTERVAL, caption_of, counted


def draw(sweep: Record) -> go.Figure:
    """Return a heat map of layer by strength for harmful and one for harmless prompts.

    A menu chooses quantity and vector, and model and arm if there are several. sweep: the table of that name.
    """
    found = views(sweep.table, ("measure", "vector", "model", "arm"))
    subtitle = "h ← h − α·v at the last prompt token of one block"
    return heat_figure(found, cells, "Every strength at every layer", subtitle, 440)


def cells(view: MenuView, rows: pd.DataFrame, **common: Any) -> go.Heatmap:
    """Return the heat map of one label in a view."""
    share = rows["measure"].iloc[0] == "first_token"
    strengths = sorted(rows["alpha"].unique(), reverse=True)
    return heat_map(
        rows,
        "layer",
        "alpha",
        strengths,
        [f"α = {strength:g}" for strength in strengths],
        bound=1.0 if share else largest(view.rows["value"]),
        unit="share" if share else "units",
        centred=not share,
        colorbar=bar(rows.iloc[0]),
        **common,
    )


def caption(sweep: Record) -> str:
    """Return the caption: what is shown, and the number of prompts."""
    return caption_of(
        "Each cell: image prompts with α times the vector removed from the state at the last prompt token after that "
        "block. D is the drift; controls have the same length.",
        INTERVAL,
        counted(sweep.table["n"], "prompts per estimate") + ".",
    )


def bar(row: "pd.Series[Any]") -> dict[str, Any]:
    """Return the colour bar of a view, with its quantity, vector and arm."""
    told = f"{style.VECTORS[row['vector']][0]}, {style.arm_label(row['arm'])}"
    form = ".0%" if row["measure"] == "first_token" else ".2~g"
    return colour_bar(f"{style.short(row['measure'])}<br>{told}", form)
