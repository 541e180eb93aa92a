"""What removing the drift restores and what adding it breaks, dose by dose, beside controls of equal norm."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import band_points, line_in_band, line_points
from regap.figures.drawing.menus import OVER_LEGEND, MenuView, view_menu, views
from regap.figures.drawing.wording import INTERVAL, caption_of, counted

ROWS = {"correct": "removed from images", "induce": "added to text"}
SEPARABILITY = ("d_prime", "auroc", "usable", "gap")
BEHAVIOUR = ("attack_success", "over_refusal", "utility")
DASHES = {"random": "dot", "shuffled": "dash"}


def draw(strength: Record) -> go.Figure:
    """Measures against the strength alpha: above the vector is taken from images, below it is added to text.

    One line per vector in its interval band. Menus choose the measure of separability in the first column,
    and the model, arm and edited layer when there are several. strength: the table of that name.
    """
    table = strength.table
    directions = [direction for direction in ROWS if direction in set(table["direction"])]
    measured = [measure for measure in SEPARABILITY if measure in set(table["measure"])]
    columns = [*measured[:1], *(measure for measure in BEHAVIOUR if measure in set(table["measure"]))]
    figure = panels(directions, columns)
    found = split(table)
    owner, switched = [], {}
    for place, view in enumerate(found):
        legend = set(view.rows["vector"])
        for row, column, vector, lines in cells(view, directions, columns):
            if columns[column - 1] in measured:
                switched[len(figure.data)] = lines
            at = lines[lines["measure"] == columns[column - 1]]
            figure.add_traces(
                dose_line(at, vector, visible=place == 0, showlegend=vector in legend), rows=row, cols=column
            )
            legend -= {vector}
            owner += [place, place]
    style.dress(
        figure,
        "Dose-response of removing and of adding the drift",
        "Controls have the norm of D; click a vector to hide it",
    )
    figure.update_xaxes(title_text="strength α", row=len(directions))
    for row, direction in enumerate(directions, 1):
        figure.update_yaxes(title_text=f"<b>{ROWS[direction]}</b>", row=row, col=1)
    for column, measure in enumerate(columns, 1):
        figure.update_yaxes(tickformat=".0%" if measure in BEHAVIOUR else None, col=column)
    figure.update_layout(updatemenus=[*measure_menu(measured, switched), *view_menu(found, owner)])
    return figure


def caption(strength: Record) -> str:
    """What the figure shows, on how many prompts, and what is the paper's."""
    return caption_of(
        "h ← h − α·v on image prompts (above) and h ← h + α·v on text prompts (below), at one layer.",
        "Separability is read at a later layer: shifting all states alike changes no d′ or AUROC where it is done.",
        INTERVAL,
        counted(strength.table["n"], "prompts per estimate") + ".",
        "That removing the drift restores refusals is the paper's claim; adding it to text, the parts of D and the "
        "controls are ours. A control that moves like D is a finding.",
    )


def split(table: pd.DataFrame) -> list[MenuView]:
    """One view per model, edited layer and corrected arm; the doses added to text are in each."""
    added = table[table["direction"] == "induce"]
    names = {"model": style.shown, "arm": style.arm_label, "layer": lambda layer: f"layer {layer}"}
    removed = table[table["direction"] == "correct"]
    found = views(removed if len(removed) else added, names, order=lambda name: (len(name), name))
    if removed.empty:
        return found
    return [MenuView(view.label, pd.concat([view.rows, beside(view.rows, added)])) for view in found]


def beside(rows: pd.DataFrame, added: pd.DataFrame) -> pd.DataFrame:
    """The doses added to text in the same model, at the same layer where it was measured."""
    same = added[added["model"] == rows["model"].iloc[0]]
    here = same[same["layer"] == rows["layer"].iloc[0]]
    return here if len(here) else same[same["layer"] == same["layer"].min()]


def panels(directions: list[str], columns: list[str]) -> go.Figure:
    """Empty panels: a row for removing and one for adding, a column per measure."""
    return make_subplots(
        rows=len(directions),
        cols=len(columns),
        column_titles=[style.short(measure) for measure in columns],
        shared_xaxes=True,
        shared_yaxes="columns",
        horizontal_spacing=0.055,
        vertical_spacing=0.09,
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
        marker_size=4.5, line_width=1.8, hovertemplate=traces[1].hovertemplate.replace("alpha", "α")
    )
    return traces


def measure_menu(measured: list[str], switched: dict[int, pd.DataFrame]) -> list[dict[str, Any]]:
    """A menu that redraws the first column with another measure of separability."""
    if len(measured) < 2:
        return []
    places = [index + part for index in switched for part in (0, 1)]
    buttons = []
    for measure in measured:
        rows = [lines[lines["measure"] == measure] for lines in switched.values()]
        points = [part for at in rows for part in (band_points(at, "alpha"), line_points(at, "alpha"))]
        change = {key: [part.get(key) for part in points] for key in ("x", "y", "customdata")}
        title = {"annotations[0].text": style.short(measure), "yaxis.autorange": True}
        buttons.append({"label": style.short(measure), "method": "update", "args": [change, title, places]})
    return [{**OVER_LEGEND, "buttons": buttons}]
