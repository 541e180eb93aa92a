"""Corrections on each of several models: attack success, over-refusal, refused contrasts and utility."""

import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import bars
from regap.figures.drawing.style import INTERVAL, caption_of, counted
from regap.figures.plots.outcomes import panels_of, spread

MEASURES = ("attack_success", "over_refusal", "contrast_over_refusal", "utility")
CHOSEN = {
    "nothing": ("no correction", style.GREY, "circle"),
    "last token": ("last token, fixed", style.BLACK, "diamond"),
    "gate alone": ("gate alone", style.BLUE, "square"),
    "gate alone, within budgets": ("gate alone, within budgets", style.BLUE, "square"),
    "image tokens, within budgets": ("image tokens alone, within budgets", style.GREEN, "triangle-up"),
    "one pass": ("one pass", style.VERMILLION, "circle"),
    "one pass, within budgets": ("one pass, within budgets", style.VERMILLION, "circle"),
}
"""The corrections that are drawn, with names, colours and shapes; of two kinds of one, that within budgets."""


def draw(model_corrections: Record) -> go.Figure:
    """Return a row for each model, a panel for each measure, and a dot with its interval for each correction.

    model_corrections: the table of that name. Models are in order of attack success without correction.
    """
    table = drawn_rows(model_corrections.table)
    measures = [measure for measure in MEASURES if measure in set(table["measure"])]
    bare = table[(table["correction"] == "nothing") & (table["measure"] == "attack_success")]
    models = bare.sort_values(["value", "model"])["model"].tolist()
    corrections = [name for name in CHOSEN if name in set(table["correction"])]
    figure = panels_of(measures)
    for column, measure in enumerate(measures, 1):
        for level, name in enumerate(corrections):
            rows = table[(table["measure"] == measure) & (table["correction"] == name)]
            heights = [models.index(model) + spread(level, len(corrections)) for model in rows["model"]]
            figure.add_trace(dots(rows, heights, name, column == 1), row=1, col=column)
        figure.update_xaxes(range=span(table[table["measure"] == measure]), col=column)
    style.dress(
        figure,
        "Corrections on each model",
        "Chosen on calibration pairs of each model; shares of test prompts, whole answers",
    )
    figure.update_xaxes(tickformat=style.SHARES, title_text="share")
    figure.update_yaxes(
        range=[len(models) - 0.5, -0.5], tickvals=list(range(len(models))), showgrid=False, ticks=""
    )
    figure.update_yaxes(ticktext=[style.shown(model) for model in models], col=1)
    for line in range(1, len(models)):
        figure.add_hline(y=line - 0.5, line={"color": style.RULE, "width": 1}, layer="below")
    return figure.update_layout(margin={"t": 126}, height=260 + 56 * len(models))


def drawn_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the drawn corrections."""
    there = set(table["correction"])
    kept = [name for name in CHOSEN if f"{name}, within budgets" not in there]
    return table[table["correction"].isin(kept)]


def span(rows: pd.DataFrame) -> list[float]:
    """Return the range of an axis: from 0 for shares that should be low, else the intervals alone, with a margin."""
    low, high = rows[["low", "value"]].min().min(), rows[["high", "value"]].max().max()
    low = low if low > 0.5 else 0.0
    margin = 0.04 * max(high - low, 0.01)
    return [low - margin, high + margin]


def caption(model_corrections: Record) -> str:
    """What the figure shows, and on how many models and prompts."""
    table = drawn_rows(model_corrections.table)
    return caption_of(
        "Attack success: harmful images that the model complied with. Over-refusal: harmless images refused. "
        "Contrasts: harmless prompts that look harmful. Utility: harmless images answered correctly.",
        INTERVAL,
        f"{table['model'].nunique()} models; {counted(table['n'], 'prompts per estimate')}.",
        "The corrections are our operationalisation.",
    )


def dots(rows: pd.DataFrame, heights: list[float], name: str, shown: bool) -> go.Scatter:
    """Return one correction's dots with their interval bars."""
    label, colour, symbol = CHOSEN[name]
    told = [
        [style.shown(row.model), row.low, row.high, row.n]
        for row in rows[["model", "low", "high", "n"]].itertuples()
    ]
    return go.Scatter(
        x=rows["value"].tolist(),
        y=heights,
        error_x=bars(rows["value"], rows["low"], rows["high"], colour),
        mode="markers",
        marker={"size": 8, "color": colour, "symbol": symbol},
        name=label,
        legendgroup=label,
        showlegend=shown,
        customdata=told,
        hovertemplate=f"<b>{label}</b><br>%{{customdata[0]}}<br>%{{x:.1%}}  [%{{customdata[1]:.1%}}, "
        "%{customdata[2]:.1%}]<br>n = %{customdata[3]:,}<extra></extra>",
    )
