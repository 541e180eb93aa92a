"""Comparison of methods: attack success, over-refusal and utility."""

from collections.abc import Iterator, Mapping

import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import bars
from regap.figures.drawing.menus import Marks, MenuView, add_views, views
from regap.figures.drawing.style import INTERVAL, caption_of, counted
from regap.figures.plots.outcomes import panels_of

MEASURES = ("attack_success", "over_refusal", "contrast_over_refusal", "utility")
OURS = ("fixed", "regap", "regap_rho")


def draw(methods: Record, method_settings: Record | None = None) -> go.Figure:
    """Return a row per method and a panel per measure: a dot with its interval, filled if it differs from no defence.

    methods: the table of that name; a menu chooses model and arm if there are several. method_settings: the table with
    the titles of the methods. Rows are in order of attack success, the lowest on top; a line marks no defence.
    """
    titles = titles_of(method_settings)
    found = views(methods.table, ("model", "arm"))
    measures = [measure for measure in MEASURES if measure in set(methods.table["measure"])]
    figure = panels_of(measures)

    def rows_of_dots(view: MenuView, shown: bool) -> Iterator[Marks]:
        success = view.rows[view.rows["measure"] == "attack_success"]
        order = success.sort_values(["value", "method"])["method"]
        for column, measure in enumerate(measures, 1):
            rows = view.rows[view.rows["measure"] == measure].set_index("method").loc[order].reset_index()
            traces = [line_of_none(rows, titles), dots(rows, titles)]
            yield 1, column, [trace.update(visible=shown) for trace in traces]

    menu = add_views(figure, found, rows_of_dots)
    style.dress(
        figure,
        "Methods under the same rules",
        "Site and strength chosen on calibration pairs; filled: differs from no defence (Holm)",
    )
    rows = max(view.rows["method"].nunique() for view in found)
    figure.update_xaxes(range=[-0.03, 1.03], tickformat=".0%", title_text="share")
    figure.update_yaxes(autorange="reversed", ticks="", type="category")
    return figure.update_layout(updatemenus=menu, margin={"t": 126}, showlegend=False, height=220 + 30 * rows)


def caption(methods: Record, method_settings: Record | None = None) -> str:  # noqa: ARG001 - as `draw`
    """What the figure shows, on how many prompts, and how it was tested."""
    return caption_of(
        "Each method acts at the layer and strength that calibration pairs chose within one budget of false refusals; "
        "all answer the same test prompts.",
        "A filled dot differs from no defence: exact McNemar test, p below 0.05 after Holm's correction for the number "
        "of methods.",
        INTERVAL,
        counted(methods.table["n"], "prompts per estimate") + ".",
        "Published methods are reimplemented from public information; each one's documentation states our assumptions.",
    )


def titles_of(method_settings: Record | None) -> dict[str, str]:
    """Return the title of each method, escaped for a figure; empty without the table."""
    if method_settings is None:
        return {}
    named = method_settings.table[["method", "title"]].drop_duplicates("method")
    return {row.method: style.shown(row.title) for row in named.itertuples()}


def dots(rows: pd.DataFrame, titles: Mapping[str, str]) -> go.Scatter:
    """Return one dot per method with its interval; our methods have another colour."""
    colours = [style.VERMILLION if method in OURS else style.BLUE for method in rows["method"]]
    differs = (rows["p_holm"] < 0.05).tolist()
    labels = [titles.get(method, style.shown(method)) for method in rows["method"]]
    told = rows[["value", "low", "high", "n", "change", "change_low", "change_high", "p_holm"]]
    return go.Scatter(
        x=rows["value"].tolist(),
        y=labels,
        error_x=bars(rows["value"], rows["low"], rows["high"], style.GREY),
        mode="markers",
        marker={
            "size": 10,
            "color": [colour if fills else "white" for colour, fills in zip(colours, differs, strict=True)],
            "line": {"color": colours, "width": 2},
        },
        customdata=told.to_numpy().tolist(),
        hovertemplate="<b>%{y}</b><br>%{customdata[0]:.1%}  [%{customdata[1]:.1%}, %{customdata[2]:.1%}]"
        "<br>change %{customdata[4]:+.1%}  [%{customdata[5]:+.1%}, %{customdata[6]:+.1%}]"
        "<br>p = %{customdata[7]:.2g}, n = %{customdata[3]:,}<extra></extra>",
    )


def line_of_none(rows: pd.DataFrame, titles: Mapping[str, str]) -> go.Scatter:
    """A line at no defence, across all rows."""
    value = float(rows[rows["method"] == "none"]["value"].iloc[0])
    labels = [titles.get(method, style.shown(method)) for method in rows["method"]]
    return go.Scatter(
        x=[value] * len(labels),
        y=labels,
        mode="lines",
        line={"color": style.RULE, "width": 2},
        hoverinfo="skip",
    )
