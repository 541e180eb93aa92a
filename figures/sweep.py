"""Heat maps of a sweep: the effect of a vector on image prompts at every layer and strength."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.heat import heat_map, largest
from regap.figures.drawing.menus import view_menu, views
from regap.figures.drawing.style import INTERVAL, caption_of, counted

LABELS = ("harmful", "harmless")


def draw(sweep: Record) -> go.Figure:
    """Return a heat map of layer by strength for harmful and one for harmless prompts.

    A menu chooses quantity and vector, and model and arm if there are several. sweep: the table of that name.
    """
    table = sweep.table
    found = views(table, ("measure", "vector", "model", "arm"))
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        column_titles=[f"{label} prompts" for label in LABELS],
    )
    owner = []
    for place, view in enumerate(found):
        measure = view.rows["measure"].iloc[0]
        for column, label in enumerate(LABELS, 1):
            rows = view.rows[view.rows["label"] == label]
            strengths = sorted(rows["alpha"].unique(), reverse=True)
            map_ = heat_map(
                rows,
                "layer",
                "alpha",
                strengths,
                [f"α = {strength:g}" for strength in strengths],
                bound=1.0 if measure == "first_token" else largest(view.rows["value"]),
                unit="share" if measure == "first_token" else "units",
                centred=measure != "first_token",
                visible=place == 0,
                showscale=column == 1,
                colorbar=bar(rows.iloc[0]),
            )
            figure.add_trace(map_, 1, column)
            owner.append(place)
    style.dress(figure, "Every strength at every layer", "h ← h − α·v at the last prompt token of one block")
    figure.update_xaxes(title_text="layer", showgrid=False, dtick=style.layer_steps(table["layer"]))
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    figure.update_layout(
        updatemenus=view_menu(found, owner), plot_bgcolor=style.RULE, margin={"t": 130}, height=440
    )
    return figure


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
    told = (
        f"{style.short(row['measure'])}<br>{style.VECTORS[row['vector']][0]}, {style.arm_label(row['arm'])}"
    )
    title = {"text": told, "side": "right", "font": {"size": 12}}
    return {
        "title": title,
        "thickness": 14,
        "tickformat": ".0%" if row["measure"] == "first_token" else ".2~g",
    }
