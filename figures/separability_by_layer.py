"""Where in the stack harmful and harmless come apart, arm by arm."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import band_points, line_in_band, line_points
from regap.figures.drawing.menus import OVER_LEGEND, MenuView, view_menu, views
from regap.figures.drawing.wording import INTERVAL, caption_of, counted


def draw(separability: Record, *, chosen_layer: int | None = None) -> go.Figure:
    """Separability by layer, one line per arm in its interval band.

    One menu changes the measure (d′, AUROC, usable separation, gap), another the model, condition and direction.
    separability: the table of that name. chosen_layer: 0-based, marked when given.
    """
    table = separability.table
    measures = style.ordered(table["measure"], ("d_prime", "auroc", "usable", "gap"))
    found = split(table)
    figure, drawn, owner = go.Figure(), [], []
    for place, view in enumerate(found):
        for arm, colour in style.arm_colours(view.rows["arm"]).items():
            rows = view.rows[view.rows["arm"] == arm]
            first = rows[rows["measure"] == measures[0]]
            figure.add_traces(
                line_in_band(
                    first, "layer", style.arm_label(arm), colour, dash=style.arm_dash(arm), visible=place == 0
                )
            )
            drawn.append(rows)
            owner += [place, place]
    style.dress(
        figure,
        "Separability by layer",
        "How far apart harmful and harmless lie; click an arm to hide it",
    )
    figure.update_xaxes(
        title_text="layer (output of block, 0-based)", dtick=style.layer_steps(table["layer"])
    )
    figure.update_yaxes(title_text=style.MEASURES[measures[0]])
    figure.update_layout(updatemenus=[*measure_menu(measures, drawn), *view_menu(found, owner)])
    if chosen_layer is not None:
        mark_layer(figure, chosen_layer)
    return figure


def caption(separability: Record) -> str:
    """What the figure shows, on how many prompts, and what is the paper's."""
    return caption_of(
        "How far apart harmful and harmless prompts lie along one direction, at the output of each block.",
        "Gap, d′ and AUROC compare the two classes within an arm; usable separation is the balanced accuracy "
        "of the threshold fitted on text, so it alone sees a shift that both classes share.",
        INTERVAL,
        counted(separability.table["n"], "prompts per estimate") + ".",
        "That separability collapses on images is the paper's claim; the four measures are our operationalisation.",
    )


def split(table: pd.DataFrame) -> list[MenuView]:
    """One view per model, condition and direction; the uncorrected refusal direction comes first."""
    return views(
        table,
        {
            "model": style.shown,
            "condition": lambda name: style.CONDITIONS.get(name, (style.shown(name),))[0],
            "direction": lambda name: style.DIRECTIONS[name],
        },
        order=lambda name: ([*style.CONDITIONS, *style.DIRECTIONS, name].index(name), name),
    )


def measure_menu(measures: list[str], drawn: list[pd.DataFrame]) -> list[dict[str, Any]]:
    """A menu that redraws every band and line with another measure."""
    if len(measures) < 2:
        return []
    buttons = []
    for measure in measures:
        rows = [arm[arm["measure"] == measure] for arm in drawn]
        points = [part for arm in rows for part in (band_points(arm, "layer"), line_points(arm, "layer"))]
        change = {key: [part.get(key) for part in points] for key in ("x", "y", "customdata")}
        axis = {"yaxis.title.text": style.MEASURES[measure], "yaxis.autorange": True}
        buttons.append({"label": style.short(measure), "method": "update", "args": [change, axis]})
    return [{**OVER_LEGEND, "buttons": buttons}]


def mark_layer(figure: go.Figure, layer: int) -> None:
    """A dashed upright at the layer chosen on calibration data."""
    figure.add_vline(
        x=layer,
        line={"dash": "dot", "color": style.FAINT, "width": 1.3},
        annotation={"text": f"chosen layer {layer}", "font": {"size": 11, "color": style.FAINT}},
        annotation_position="top left",
    )
