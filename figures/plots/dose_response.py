"""Dose-response: the effect of removing the drift from images and adding it to text, with controls of equal norm."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import line_in_band, marked_at
from regap.figures.drawing.menus import (
    SEPARABILITY,
    Marks,
    MenuView,
    add_views,
    measure_menu,
    rows_with,
    views,
)
from regap.figures.drawing.style import INTERVAL, caption_of, counted

ROWS = {"correct": "removed from images", "induce": "added to text"}
BEHAVIOUR = ("attack_success", "over_refusal", "utility")
DASHES = {"random": "dot", "shuffled": "dash"}


def draw(
    strength: Record,
    *,
    measure: str | None = None,
    arms: tuple[str, ...] = (),
    layer: int | None = None,
    model: str | None = None,
    dose: int | float | None = None,
    beside: bool = False,
) -> go.Figure:
    """Return measures over the strength α; above, the vector is removed from images, below, it is added to text.

    One line per vector with its interval band. Menus choose the measure of separability in the first column, and the
    model, arm and edited layer if there are several; an option given here is fixed. strength: the table of that name.
    measure: draw only this one. layer: the edited layer. dose: a strength to mark. beside: leave a panel free at the
    right, over the full height.
    """
    table = chosen(strength, measure=measure, arms=arms, layer=layer, model=model)
    directions = [direction for direction in ROWS if direction in set(table["direction"])]
    measured = [name for name in SEPARABILITY if name in set(table["measure"])]
    columns = [*measured[:1], *(name for name in BEHAVIOUR if name in set(table["measure"]))]
    if measure:
        columns = [measure]
    figure = panels(directions, columns, beside)
    found = split(table)
    switched: dict[int, pd.DataFrame] = {}

    def curves(view: MenuView, shown: bool) -> Iterator[Marks]:
        legend = set(view.rows["vector"])
        for row, column, vector, lines in cells(view, directions, columns):
            if columns[column - 1] in measured:
                switched[len(figure.data)] = lines
            at = lines[lines["measure"] == columns[column - 1]]
            yield row, column, dose_line(at, vector, visible=shown, showlegend=vector in legend)
            legend -= {vector}

    view_menu = add_views(figure, found, curves)
    style.dress(
        figure,
        "Dose-response of removing and of adding the drift",
        "Controls have the norm of D; click a vector to hide it",
    )
    for row, direction in enumerate(directions, 1):
        title = (
            f"{style.short(measure)}, {ROWS[direction]}"
            if measure and beside
            else f"<b>{ROWS[direction]}</b>"
        )
        figure.update_yaxes(title_text=title, row=row, col=1)
        towards = dose if dose is None or direction == "correct" else -dose
        if towards is not None and towards >= 0:
            for column in range(1, len(columns) + 1):
                figure.add_vline(**marked_at(towards), row=row, col=column)
    for column, name in enumerate(columns, 1):
        figure.update_xaxes(title_text="strength α", row=len(directions), col=column)
        figure.update_yaxes(tickformat=style.SHARES if name in BEHAVIOUR else None, col=column)
    menu = measure_menu(
        [] if measure else measured,
        list(switched.values()),
        "alpha",
        lambda name: {"annotations[0].text": style.short(name)},
        [index + part for index in switched for part in (0, 1)],
    )
    figure.update_layout(updatemenus=[*menu, *view_menu])
    return figure


def chosen(
    strength: Record,
    *,
    measure: str | None = None,
    arms: tuple[str, ...] = (),
    layer: int | None = None,
    model: str | None = None,
) -> pd.DataFrame:
    """Return the rows to draw; doses added to text are kept for any arms and layer."""
    table = rows_with(strength.table, model=model, measure=measure)
    added = table[table["direction"] == "induce"]
    removed = rows_with(table[table["direction"] == "correct"], arm=arms, layer=layer)
    return pd.concat([removed, added])


def caption(strength: Record, **options: Any) -> str:  # noqa: ARG001 - as `draw`
    """What the figure shows, on how many prompts, and what is the paper's."""
    return caption_of(
        "h ← h − α·v on image prompts (above) and h ← h + α·v on text prompts (below), at one layer.",
        "Separability is read at a later layer, since a common shift does not change d′ or AUROC at the edited layer.",
        INTERVAL,
        counted(strength.table["n"], "prompts per estimate") + ".",
        "That removing the drift restores refusals is the paper's claim; adding it to text, the parts of D and the "
        "controls are ours. A control with the same effect as D counts against the claim.",
    )


def split(table: pd.DataFrame) -> list[MenuView]:
    """One view per model, edited layer and corrected arm; the doses added to text are in each."""
    added = table[table["direction"] == "induce"]
    removed = table[table["direction"] == "correct"]
    found = views(removed if len(removed) else added, ("model", "arm", "layer"))
    if removed.empty:
        return found
    return [MenuView(view.label, pd.concat([view.rows, beside(view.rows, added)])) for view in found]


def beside(rows: pd.DataFrame, added: pd.DataFrame) -> pd.DataFrame:
    """The doses added to text in the same model, at the same layer where it was measured."""
    same = added[added["model"] == rows["model"].iloc[0]]
    here = same[same["layer"] == rows["layer"].iloc[0]]
    return here if len(here) else same[same["layer"] == same["layer"].min()]


def panels(directions: list[str], columns: list[str], beside: bool) -> go.Figure:
    """Return empty panels: rows for removing and adding, a column per measure, and one over all rows if beside."""
    if not beside:
        return make_subplots(
            rows=len(directions),
            cols=len(columns),
            column_titles=[style.short(measure) for measure in columns],
            shared_xaxes=True,
            shared_yaxes="columns",
            horizontal_spacing=0.055,
            vertical_spacing=0.09,
        )
    free: list[Any] = [{"rowspan": len(directions)}, *[None] * (len(directions) - 1)]
    return make_subplots(
        rows=len(directions),
        cols=len(columns) + 1,
        column_widths=[0.46 / len(columns)] * len(columns) + [0.54],
        horizontal_spacing=0.1,
        vertical_spacing=0.12,
        specs=[[*[{}] * len(columns), last] for last in free],
    )


def cells(
    view: MenuView, directions: list[str], columns: list[str]
) -> Iterator[tuple[int, int, str, pd.DataFrame]]:
    """(row, column, vector, all measures of that vector in that row) for each line of a view."""
    for row, direction in enumerate(directions, 1):
        of_row = view.rows[view.rows["direction"] == direction]
        for vector in style.ordered(of_row["vector"], style.VECTORS):
            for column in range(1, len(columns) + 1):
                yield row, column, vector, of_row[of_row["vector"] == vector]


def dose_line(rows: pd.DataFrame, vector: str, **common: Any) -> list[go.Scatter]:
    """One vector's line and band; the controls are dashed."""
    label, colour = style.VECTORS[vector]
    traces = line_in_band(
        rows, "alpha", label, colour, dash=DASHES.get(vector, "solid"), legendgroup=vector, **common
    )
    traces[1].update(
        meta={"select": "strength"},
        marker_size=4.5,
        line_width=1.8,
        hovertemplate=traces[1].hovertemplate.replace("alpha", "α"),
    )
    return traces
