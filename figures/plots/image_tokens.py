"""The drift removed at the image's own tokens: answers and self-rectification by dose, beside random vectors."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import line_in_band, marked_at
from regap.figures.drawing.menus import Marks, MenuView, add_views, views
from regap.figures.drawing.style import INTERVAL, caption_of, counted

PANELS = {
    "attack_success": "attack success",
    "over_refusal": "over-refusal",
    "contrast_over_refusal": "contrasts refused",
    "auroc_rho": "AUROC of ρ",
}
BESIDE = {
    "last token": (style.BLACK, "dash"),
    "one pass": (style.BLUE, "dashdot"),
    "one pass, within budgets": (style.GREEN, "dot"),
}
"""Other corrections, drawn as a level across all doses."""


def draw(image_tokens: Record) -> go.Figure:
    """Return each measure over the dose of the drift that is removed at image tokens, with its interval.

    Points are random vectors as long as the drift; levels are the correction of the last token, and both in one pass. A
    menu chooses the model and the arm if there are several. image_tokens: the table of that name.
    """
    table = image_tokens.table
    table = table[table["arm"] != "text"]
    measures = [name for name in PANELS if name in set(table["measure"])]
    figure = make_subplots(
        cols=len(measures), column_titles=[PANELS[name] for name in measures], horizontal_spacing=0.06
    )
    menu = add_views(figure, views(table, ("model", "arm")), lambda view, shown: marks(view, measures, shown))
    style.dress(
        figure,
        "The drift removed at the image's own tokens",
        "A shift of modality is undone by 1 D and overshoots beyond; grey: random vectors as long",
    )
    figure.update_xaxes(title_text="dose (multiples of D)")
    for column, name in enumerate(measures, 1):
        share = name != "auroc_rho"
        figure.update_yaxes(tickformat=style.SHARES if share else None, rangemode="tozero", col=column)
        figure.add_vline(**marked_at(1.0), row=1, col=column)
    return figure.update_layout(updatemenus=menu)


def marks(view: MenuView, measures: list[str], shown: bool) -> Iterator[Marks]:
    """Yield the dose line of each measure, the random vectors and the levels of other corrections."""
    legend = shown
    for column, measure in enumerate(measures, 1):
        rows = view.rows[view.rows["measure"] == measure]
        yield (
            1,
            column,
            line_in_band(
                doses(rows), "alpha", "drift D, by dose", style.VERMILLION, visible=shown, showlegend=legend
            ),
        )
        random = rows[rows["vector"].str.startswith("random")]
        yield 1, column, [points(random, shown, legend)]
        longest = float(rows["alpha"].max())
        for name, (colour, dash) in BESIDE.items():
            found = rows[rows["condition"] == name]
            if len(found):
                yield 1, column, [level(found.iloc[0], name, longest, colour, dash, shown, legend)]
        legend = False


def doses(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the doses of D at image tokens alone, from no correction on."""
    alone = rows["condition"].str.startswith("image tokens") & (rows["vector"] == "D")
    return rows[alone | (rows["condition"] == "nothing")]


def points(random: pd.DataFrame, shown: bool, legend: bool) -> go.Scatter:
    """Return one point a random vector."""
    return go.Scatter(
        x=random["alpha"].tolist(),
        y=random["value"].tolist(),
        customdata=[[style.shown(name), n] for name, n in zip(random["vector"], random["n"], strict=True)],
        hovertemplate="<b>%{customdata[0]}</b><br>%{y:.3g}<br>n = %{customdata[1]:,}<extra></extra>",
        mode="markers",
        marker={"size": 6, "color": style.clear(style.GREY, 0.6)},
        name="random vectors",
        legendgroup="random",
        visible=shown,
        showlegend=legend,
    )


def level(
    row: "pd.Series[Any]", name: str, longest: float, colour: str, dash: str, shown: bool, legend: bool
) -> go.Scatter:
    """Return a horizontal line at the value of another correction."""
    told = f"{row['value']:.3g}  [{row['low']:.3g}, {row['high']:.3g}]"
    return go.Scatter(
        x=[0.0, longest],
        y=[row["value"]] * 2,
        mode="lines",
        line={"color": colour, "dash": dash, "width": 1.6},
        name=name,
        legendgroup=name,
        hovertemplate=f"<b>{name}</b><br>{told}<br>n = {row['n']:,}<extra></extra>",
        visible=shown,
        showlegend=legend,
    )


def caption(image_tokens: Record) -> str:
    """What the figure shows, on how many prompts, and what is the paper's."""
    table = image_tokens.table
    random = table.loc[table["vector"].str.startswith("random"), "vector"].nunique()
    return caption_of(
        "h ← h − α·D at the image tokens of one block, while the prompt is read; D is the mean over image tokens minus "
        "the mean over the request's own tokens in words.",
        f"{random} random vectors as long. ρ is the mean change of z over the last blocks at the last token.",
        INTERVAL,
        counted(table["n"], "prompts per estimate") + ".",
        "The position, the block and the doses are our operationalisation.",
    )
