"""Drift against separability and attack success."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import bars
from regap.figures.drawing.style import INTERVAL, caption_of, counted

LEVELS = {"arm": "across arms", "model": "across models", "bin": "across drift bins of one arm"}
OUTCOMES = {"d_prime": "d′ (pooled SD)", "attack_success": "attack success (share)"}
SYMBOLS = {"arm": "circle", "model": "diamond", "bin": "square"}
AROUND = ("drift", "d_prime", "attack_success")


def draw(prediction: Record, correlations: Record | None = None) -> go.Figure:
    """Return drift against d′ (above) and attack success (below), at each level measured.

    prediction: one point with its interval bars per arm, model or bin. correlations: Spearman's rank
    correlations with intervals or p-values, written into the panels.
    """
    table = prediction.table
    levels = [level for level in LEVELS if level in set(table["level"])]
    figure = make_subplots(
        rows=2,
        cols=len(levels),
        column_titles=[LEVELS[level] for level in levels],
        shared_xaxes="columns",
        shared_yaxes="rows",
        horizontal_spacing=0.045,
        vertical_spacing=0.07,
    )
    for column, level in enumerate(levels, 1):
        rows = table[table["level"] == level]
        for row, outcome in enumerate(OUTCOMES, 1):
            for name, (label, colour) in point_looks(rows, level).items():
                at = rows[rows[identity(level)] == name]
                figure.add_trace(marks(at, outcome, level, label, colour, row == 1), row, column)
            note = correlation_note(correlations, level, outcome)
            figure.add_annotation(text=note, row=row, col=column, **corner(outcome))
        figure.update_xaxes(title_text="drift strength δ", row=2, col=column)
    for row, title in enumerate(OUTCOMES.values(), 1):
        figure.update_yaxes(title_text=title, row=row, col=1)
    for row, outcome in enumerate(OUTCOMES, 1):
        figure.update_yaxes(range=with_headroom(table, outcome), row=row)
    style.dress(
        figure,
        "Drift, separability and attack success",
        "ρ is Spearman's rank correlation with its 95 % interval",
    )
    figure.update_layout(
        legend={"title": {"text": "arms", "font": {"size": 12}}, "tracegroupgap": 0},
        legend2={
            "title": {"text": "models", "font": {"size": 12}},
            "tracegroupgap": 0,
            "x": 1.02,
            "y": 0,
            "yanchor": "bottom",
        },
    )
    return figure


def caption(prediction: Record, correlations: Record | None = None) -> str:
    """What the figure shows, on how many prompts and points, and what is the paper's."""
    table = prediction.table
    points = ", ".join(
        f"{(table['level'] == level).sum()} {level}s" for level in LEVELS if (table["level"] == level).any()
    )
    return caption_of(
        f"Each point is one arm, one model or one bin of prompts with similar drift across r ({points}).",
        INTERVAL,
        counted(table["n"], "prompts per point") + ".",
        "Correlations over arms and bins have intervals that resample prompts; over models p is that of a permutation "
        "test."
        if correlations
        else "",
        "That drift predicts the loss is the paper's claim; the drift strength δ, the levels and the bins are ours.",
    )


def identity(level: str) -> str:
    """Return the column that names the points of a level."""
    return "model" if level == "model" else "name"


def point_looks(rows: pd.DataFrame, level: str) -> dict[str, tuple[str, str]]:
    """Return (label, colour) of each point; bins share one colour, darker with more drift."""
    if level == "arm":
        return {
            arm: (style.arm_label(arm), colour) for arm, colour in style.arm_colours(rows["name"]).items()
        }
    if level == "model":
        return style.looks(rows["model"], {})
    names = list(dict.fromkeys(rows.sort_values("drift")["name"]))
    depth = max(len(names) - 1, 1)
    return {
        name: (style.shown(name), style.paler(style.PURPLE, 0.45 * (1 - place / depth)))
        for place, name in enumerate(names)
    }


def marks(rows: pd.DataFrame, outcome: str, level: str, label: str, colour: str, legend: bool) -> go.Scatter:
    """Return the points of one name, with interval bars in both directions."""
    ends = [name + end for name in AROUND for end in ("", "_low", "_high")]
    return go.Scatter(
        x=rows["drift"].tolist(),
        y=rows[outcome].tolist(),
        error_x=bars(rows["drift"], rows["drift_low"], rows["drift_high"], colour),
        error_y=bars(rows[outcome], rows[f"{outcome}_low"], rows[f"{outcome}_high"], colour),
        mode="markers",
        marker={"symbol": SYMBOLS[level], "size": 9, "color": colour, "line": {"color": "white", "width": 1}},
        name=label,
        legend="legend" if level == "arm" else "legend2",
        legendgroup=f"{level} {label}",
        showlegend=legend and level != "bin",
        customdata=[
            [style.shown(row.model), row.n, *(getattr(row, end) for end in ends)] for row in rows.itertuples()
        ],
        hovertemplate=f"<b>{label}</b> (%{{customdata[0]}})<br>"
        "drift %{customdata[2]:.3g} [%{customdata[3]:.3g}, %{customdata[4]:.3g}]<br>"
        "d′ %{customdata[5]:.3g} [%{customdata[6]:.3g}, %{customdata[7]:.3g}]<br>"
        "attack success %{customdata[8]:.3g} [%{customdata[9]:.3g}, %{customdata[10]:.3g}]<br>"
        "n = %{customdata[1]:,}<extra></extra>",
    )


def with_headroom(table: pd.DataFrame, outcome: str) -> list[float]:
    """Return the range of an outcome, with room for the correlation above."""
    ends = table[[outcome, f"{outcome}_low", f"{outcome}_high"]]
    low, high = float(ends.min().min()), float(ends.max().max())
    spare = (high - low) or 1.0
    return [low - 0.07 * spare, high + 0.22 * spare]


def corner(outcome: str) -> dict[str, object]:
    """Return the place of the correlation: the corner without points."""
    right = outcome == "d_prime"
    return {
        "xref": "x domain",
        "yref": "y domain",
        "x": 0.97 if right else 0.03,
        "xanchor": "right" if right else "left",
        "y": 0.97,
        "yanchor": "top",
        "showarrow": False,
        "align": "left",
        "bgcolor": "rgba(255, 255, 255, 0.8)",
        "font": {"size": 12, "color": style.INK},
    }


def correlation_note(correlations: Record | None, level: str, outcome: str) -> str:
    """Return Spearman's correlation of drift with an outcome, with interval or p, and n; empty if not measured."""
    if correlations is None:
        return ""
    rows = correlations.where(level=level, y=outcome)
    if rows.empty:
        return ""
    value, low, high, n, p = rows[["value", "low", "high", "n", "p"]].iloc[0]
    if value != value:
        return f"ρ undefined: no variation, n = {int(n)}"
    known = f" [{low:.2f}, {high:.2f}]" if low == low else f", p = {p:.2g}" if p == p else ""
    return f"ρ = {value:.2f}{known}, n = {int(n)}".replace("-", "−")
