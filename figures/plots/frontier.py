"""Attack success over over-refusal: fixed strengths, ReGap, and a gate on a probe fitted on images."""

from collections.abc import Iterator

import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import line_in_band
from regap.figures.drawing.menus import Marks, MenuView, add_views, views
from regap.figures.drawing.style import INTERVAL, caption_of, counted

LOOKS = {
    "fixed": ("fixed strengths", style.BLUE, "solid"),
    "regap": ("ReGap", style.VERMILLION, "solid"),
    **{name: (label, colour, "dot") for name, (label, colour) in style.WAYS.items()},
    "probe_image": (*style.WAYS["probe_image"], "dash"),
}
SHOWN = ("fixed", "regap", "probe_image")
"""Shown at first; the others are added by a click in the legend."""


def draw(frontier: Record) -> go.Figure:
    """Return the lowest attack success at each over-refusal, with a line and interval band per method.

    Lower is better. frontier: the table of that name. A click in the legend adds hidden methods; a menu chooses the
    model and the arm if there are several.
    """
    found = views(frontier.table, ("model", "arm"))
    figure = go.Figure()
    menu = add_views(figure, found, lines)
    style.dress(
        figure,
        "Attack success at equal over-refusal",
        "Lower is better; click in the legend to add gates on one signal",
    )
    figure.update_xaxes(title_text=style.MEASURES["over_refusal"], tickformat=style.SHARES)
    figure.update_yaxes(
        title_text=style.MEASURES["attack_success"], tickformat=style.SHARES, rangemode="tozero"
    )
    figure.update_layout(updatemenus=menu)
    return figure


def lines(view: MenuView, shown: bool) -> Iterator[Marks]:
    """Yield the band and the line of each method."""
    for method in style.ordered(view.rows["method"], LOOKS):
        rows = view.rows[view.rows["method"] == method]
        label, colour, dash = LOOKS.get(method, (style.shown(method), style.GREY, "dot"))
        visible = shown and (True if method in SHOWN else "legendonly")
        yield None, None, line_in_band(rows, "over_refusal", label, colour, dash=dash, visible=visible)


def caption(frontier: Record) -> str:
    """What the figure shows, on how many prompts, and what is the paper's."""
    return caption_of(
        "Each line is the lowest attack success on test images, at each over-refusal, that settings chosen on "
        "calibration pairs and mixtures of two of them reach; the model without correction is one of the settings.",
        "The ceiling is a gate on a probe that was fitted on harmful and harmless images.",
        INTERVAL,
        counted(frontier.table["n"], "harmful prompts per estimate") + ".",
        "That an adaptive correction beats fixed ones is the paper's claim; signals, gates, recipes and budgets are "
        "our operationalisation.",
    )
