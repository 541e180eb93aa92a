"""Self-rectification: the movement of later layers after a correction, and how well it detects harmful prompts."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import bars, line_in_band, marked_at
from regap.figures.drawing.menus import Marks, MenuView, add_views, views
from regap.figures.drawing.style import INTERVAL, caption_of, counted

MOMENTS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "z_before": (1, "before", {"dash": "dot", "symbol": "circle-open"}),
    "z_after": (1, "after", {}),
    "change": (2, "change", {"dash": "dash", "showlegend": False}),
}
"""Row of the panel, name and look of each measure."""


def draw(self_rectification: Record, detectors: Record | None = None) -> go.Figure:
    """Return the mean refusal coordinate by layer before and after the correction, its change, and detectors' AUROC.

    self_rectification: traces by class. detectors: AUROC of each signal for harmful against harmless, if measured. A
    menu chooses the model, the arm and the removed vector if there are several.
    """
    found = views(self_rectification.table, ("model", "arm", "vector"))
    figure = panels(detectors is not None)
    menu = add_views(figure, found, lambda view, shown: marks(view, detectors, shown))
    style.dress(
        figure,
        "Self-rectification after the drift is removed",
        "Mean over prompts; dotted before, solid after the correction",
    )
    figure.update_xaxes(dtick=style.layer_steps(self_rectification.table["layer"]), col=1)
    figure.update_xaxes(title_text="layer (output of block, 0-based)", row=2, col=1)
    figure.update_yaxes(title_text="z (residual units)", row=1, col=1)
    figure.update_yaxes(title_text="change of z", row=2, col=1)
    if detectors is not None:
        lowest = min(0.45, float(detectors.table[["value", "low"]].min().min()) - 0.05)
        title = "AUROC, harmful against harmless"
        figure.update_xaxes(title_text=title, range=[lowest, 1.02], row=1, col=2)
        figure.update_yaxes(autorange="reversed", row=1, col=2)
        figure.add_vline(**marked_at(0.5), row=1, col=2)
    figure.update_layout(
        updatemenus=menu,
        legend={"orientation": "h", "x": 0, "y": -0.13, "yanchor": "top"},
        margin={"b": 100},
    )
    return figure


def caption(self_rectification: Record, detectors: Record | None = None) -> str:
    """What the figure shows, on how many prompts, and what is the paper's."""
    return caption_of(
        "z is the coordinate along the refusal direction; its changes after the edited layer are made by the model.",
        "ρ is the mean change over the read layers; it is useful only if its AUROC exceeds that of plain z "
        "and of a probe."
        if detectors
        else "",
        INTERVAL,
        counted(self_rectification.table["n"], "prompts per estimate") + ".",
        "That self-rectification is stronger for harmful inputs is the paper's claim; z, ρ and the detectors are ours.",
    )


def panels(with_detectors: bool) -> go.Figure:
    """Return empty panels: coordinates above their change on the left, detectors on the right."""
    right = [[{"rowspan": 2}], [None]] if with_detectors else [[], []]
    return make_subplots(
        rows=2,
        cols=2 if with_detectors else 1,
        specs=[[{}, *right[0]], [{}, *right[1]]],
        column_widths=[0.62, 0.38] if with_detectors else None,
        row_heights=[0.6, 0.4],
        horizontal_spacing=0.2,
        vertical_spacing=0.08,
    )


def marks(view: MenuView, detectors: Record | None, visible: bool) -> Iterator[Marks]:
    """Yield the lines of one view, and its detectors."""
    for label, (name, colour) in style.LABELS.items():
        rows = view.rows[view.rows["label"] == label]
        for measure, (row, moment, look) in MOMENTS.items():
            at = rows[rows["measure"] == measure]
            yield row, 1, line_in_band(at, "layer", f"{name}, {moment}", colour, visible=visible, **look)
    if detectors is not None:
        model, arm = view.rows[["model", "arm"]].iloc[0]
        yield 1, 2, [detector_bars(detectors.where(model=model, arm=arm), visible)]


def detector_bars(rows: pd.DataFrame, visible: bool) -> go.Bar:
    """Return one bar per signal from chance to its AUROC, with its interval; rho is highlighted."""
    rows = rows.set_index("signal").loc[style.ordered(rows["signal"], style.SIGNALS)].reset_index()
    return go.Bar(
        orientation="h",
        base=0.5,
        x=(rows["value"] - 0.5).tolist(),
        y=[style.SIGNALS[signal] for signal in rows["signal"]],
        error_x=bars(rows["value"], rows["low"], rows["high"], style.INK),
        marker={"color": [style.VERMILLION if signal == "rho" else "#B5C4D1" for signal in rows["signal"]]},
        width=0.55,
        customdata=rows[["value", "low", "high", "n"]].to_numpy().tolist(),
        hovertemplate="<b>%{y}</b><br>AUROC %{customdata[0]:.3f}  [%{customdata[1]:.3f}, %{customdata[2]:.3f}]"
        "<br>n = %{customdata[3]:,}<extra></extra>",
        showlegend=False,
        visible=visible,
    )
