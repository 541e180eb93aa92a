"""Separability of harmful and harmless prompts by layer and arm."""

from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go

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


def draw(
    separability: Record,
    *,
    chosen_layer: int | None = None,
    layer: int | None = None,
    measure: str | None = None,
    arms: tuple[str, ...] = (),
    condition: str | None = None,
    direction: str | None = None,
    model: str | None = None,
) -> go.Figure:
    """Return separability by layer, with one line and interval band per arm.

    One menu changes the measure (d′, AUROC, usable separation, gap), another the model, condition and direction; an
    option given here is fixed and has no menu. separability: the table of that name. chosen_layer: 0-based, marked as
    chosen on calibration pairs; layer: marked in its place. arms: draw only these; empty: all.
    """
    rows = rows_with(
        separability.table, model=model, condition=condition, direction=direction, measure=measure, arm=arms
    )
    colours = style.arm_colours(separability.table["arm"])
    measures = style.ordered(rows["measure"], SEPARABILITY)
    found = views(rows, ("model", "condition", "direction"))
    figure, drawn = go.Figure(), []

    def lines(view: MenuView, shown: bool) -> Iterator[Marks]:
        for arm in sorted(view.rows["arm"].unique(), key=style.arm_order):
            of_arm = view.rows[view.rows["arm"] == arm]
            first = of_arm[of_arm["measure"] == measures[0]]
            # Variants are dashed, so that they do not differ only in shade.
            label, dash = style.arm_label(arm), "dash" if "-" in arm else "solid"
            traces = line_in_band(first, "layer", label, colours[arm], dash=dash, visible=shown)
            traces[1].update(meta={"select": "layer", "arm": arm})
            drawn.append(of_arm)
            yield None, None, traces

    view_menu = add_views(figure, found, lines)
    style.dress(
        figure,
        "Separability by layer",
        "Separability of harmful and harmless prompts; click an arm to hide it",
    )
    figure.update_xaxes(title_text="layer (output of block, 0-based)", dtick=style.layer_steps(rows["layer"]))
    figure.update_yaxes(title_text=style.MEASURES[measures[0]])
    menu = measure_menu(measures, drawn, "layer", lambda name: {"yaxis.title.text": style.MEASURES[name]})
    figure.update_layout(updatemenus=[*menu, *view_menu])
    if layer is not None:
        figure.add_vline(**marked_at(layer, f"layer {layer}"))
    elif chosen_layer is not None:
        figure.add_vline(**marked_at(chosen_layer, f"chosen layer {chosen_layer}"))
    return figure


def caption(separability: Record, **options: Any) -> str:  # noqa: ARG001 - as `draw`
    """What the figure shows, on how many prompts, and what is the paper's."""
    return caption_of(
        "Separability of harmful and harmless prompts along one direction, at the output of each block.",
        "Gap, d′ and AUROC compare the two classes within an arm; usable separation is the balanced accuracy "
        "of the threshold fitted on text, so only it is changed by a shift that both classes share.",
        INTERVAL,
        counted(separability.table["n"], "prompts per estimate") + ".",
        "That separability collapses on images is the paper's claim; the four measures are our operationalisation.",
    )
