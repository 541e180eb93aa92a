"""ReGap against fixed strengths: attack success over over-refusal."""

import re
from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import bars
from regap.figures.drawing.menus import Marks, MenuView, add_views, views
from regap.figures.drawing.style import INTERVAL, caption_of, counted

SYMBOLS = {"none": "x", "baseline": "x", "fixed": "circle", "regap": "star"}
LABEL_ROOM = 0.09
"""Size of a label, as a share of the spread of the points."""
ENDS = [m + end for m in ("attack_success", "over_refusal", "utility") for end in ("", "_low", "_high")]
OTHER_SYMBOLS = ("diamond", "square", "triangle-up", "pentagon", "hexagon")


def draw(adaptive: Record) -> go.Figure:
    """Return attack success over over-refusal, with a point and interval bars per method and setting.

    Fixed strengths are joined in order of alpha; lower and further left is better. A menu chooses the model and the
    arm if there are several. adaptive: the table of that name.
    """
    found = views(adaptive.table, ("model", "arm"))
    methods = style.looks(adaptive.table["method"], {**style.CONDITIONS, **style.WAYS})
    others = [method for method in methods if method not in SYMBOLS]
    symbols = {**SYMBOLS, **{name: OTHER_SYMBOLS[place % 5] for place, name in enumerate(others)}}
    figure = go.Figure()

    def marks(view: MenuView, shown: bool) -> Iterator[Marks]:
        wide = settings(view.rows)
        for method, (label, colour) in methods.items():
            rows = wide[wide["method"] == method]
            if len(rows):
                at_once = True if method not in style.WAYS or method == "probe_image" else "legendonly"
                yield None, None, [points(rows, method, label, colour, symbols[method], shown and at_once)]

    menu = add_views(figure, found, marks)
    style.dress(
        figure,
        "ReGap against fixed strengths",
        "Lower and further left is better; click in the legend to add gates on one signal",
    )
    axis = {"tickformat": style.SHARES, "autorangeoptions_include": 0}
    figure.update_xaxes(title_text=style.MEASURES["over_refusal"], **axis)
    figure.update_yaxes(title_text=style.MEASURES["attack_success"], **axis)
    return figure.update_layout(updatemenus=menu)


def caption(adaptive: Record) -> str:
    """What the figure shows, on how many prompts, and what is the paper's."""
    return caption_of(
        "Each point is one method at one setting, on test prompts; lines join a method's settings.",
        INTERVAL,
        counted(adaptive.table["n"], "prompts per estimate") + ".",
        "That the adaptive correction beats fixed ones is the paper's claim; the gates, the signals and the budget "
        "of false refusals on calibration pairs are our operationalisation.",
    )


def settings(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per method and setting: <measure>, <measure>_low, <measure>_high and n, in order of strength."""
    wide = rows.pivot(index=["method", "setting"], columns="measure", values=["value", "low", "high"])
    wide.columns = [measure if part == "value" else f"{measure}_{part}" for part, measure in wide.columns]
    wide["n"] = rows.groupby(["method", "setting"])["n"].min()
    wide = wide.reset_index()
    for column in ENDS:
        wide[column] = wide.get(column, float("nan"))
    wide["strength"] = [number_in(setting) for setting in wide["setting"]]
    return wide.sort_values(["method", "strength", "setting"])


def number_in(setting: str) -> float:
    """Return the first number in a setting such as `alpha=1.5`; 0 if there is none."""
    found = re.search(r"-?(\d+\.?\d*|\.\d+)(e-?\d+)?", setting)
    return float(found.group()) if found else 0.0


def apart(rows: pd.DataFrame) -> list[str]:
    """Return the strength of each point as a label, left out if it would overlap another."""
    places = rows[["over_refusal", "attack_success"]].to_numpy(dtype=float)
    spread = (places.max(0) - places.min(0)).clip(1e-9)
    kept: list[int] = []
    for row in range(len(places)):
        if all((abs(places[row] - places[other]) > LABEL_ROOM * spread).any() for other in kept):
            kept.append(row)
    return [f"{strength:g}" if row in kept else "" for row, strength in enumerate(rows["strength"])]


def points(
    rows: pd.DataFrame, method: str, label: str, colour: str, symbol: str, visible: bool | str
) -> go.Scatter:
    """Return one method's settings; joined and labelled for fixed strengths."""
    joined, size = method == "fixed", 14 if method == "regap" else 10
    width, dash = (1.8, "solid") if joined else (1, "dot")
    return go.Scatter(
        x=rows["over_refusal"].tolist(),
        y=rows["attack_success"].tolist(),
        error_x=bars(rows["over_refusal"], rows["over_refusal_low"], rows["over_refusal_high"], colour),
        error_y=bars(rows["attack_success"], rows["attack_success_low"], rows["attack_success_high"], colour),
        mode="lines+markers+text" if joined else "lines+markers",
        text=apart(rows) if joined else None,
        textposition="top right",
        textfont={"size": 11, "color": colour},
        line={"color": style.clear(colour, 0.5), "width": width, "dash": dash},
        marker={"symbol": symbol, "size": size, "color": colour, "line": {"color": "white", "width": 1}},
        name=f"{label}, by α" if joined else label,
        legendgroup=method,
        visible=visible,
        customdata=[[style.shown(row["setting"]), row["n"], *row[ENDS]] for _, row in rows.iterrows()],
        hovertemplate=f"<b>{label}</b>, %{{customdata[0]}}<br>"
        "attack success %{customdata[2]:.1%} [%{customdata[3]:.1%}, %{customdata[4]:.1%}]<br>"
        "over-refusal %{customdata[5]:.1%} [%{customdata[6]:.1%}, %{customdata[7]:.1%}]<br>"
        "utility %{customdata[8]:.1%} [%{customdata[9]:.1%}, %{customdata[10]:.1%}]<br>"
        "n ≥ %{customdata[1]:,}<extra></extra>",
    )
