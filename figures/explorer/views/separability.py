"""View: where in the stack harmful and harmless come apart, arm by arm."""

import pandas as pd
import plotly.graph_objects as go

from regap.figures.drawing import style
from regap.figures.drawing.marks import line_in_band
from regap.figures.drawing.wording import INTERVAL, counted
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.theme import dressed
from regap.figures.explorer.views.view import Shown, View


def show(run: ExploredRun, query: Query) -> Shown:
    """One measure by layer, a line in its interval band for each arm; a click chooses a layer."""
    rows = data(run, query)
    figure = go.Figure()
    colours = style.arm_colours(set(run.record("separability").table["arm"]))
    for arm in sorted(set(rows["arm"]), key=style.arm_order):
        traces = line_in_band(
            rows[rows["arm"] == arm], "layer", style.arm_label(arm), colours[arm], dash=style.arm_dash(arm)
        )
        traces[1].update(meta={"select": "layer", "arm": arm})
        figure.add_traces(traces)
    dressed(figure)
    figure.update_xaxes(title_text="layer (output of block, 0-based)", dtick=style.layer_steps(rows["layer"]))
    figure.update_yaxes(title_text=style.MEASURES.get(query.measure, style.shown(query.measure)))
    if query.layer is not None:
        figure.add_vline(x=query.layer, line={"dash": "dot", "color": style.FAINT, "width": 1.4})
    return Shown(
        figure,
        caption=f"{counted(rows['n'], 'prompts per estimate')}. {INTERVAL} "
        "Dotted: the layer of the other views; click a point to move it.",
    )


def data(run: ExploredRun, query: Query) -> pd.DataFrame:
    """The rows of the table that are drawn."""
    record = run.record("separability")
    rows = record.where(measure=query.measure, condition=query.condition, direction=query.direction)
    rows = rows[rows["arm"].isin(query.arm)]
    if rows.empty:
        raise Missing(
            "The run has no separability for this measure, condition, direction and arms; choose others."
        )
    return rows


VIEW = View(
    "separability",
    "Separability",
    "How far apart harmful and harmless lie, layer by layer",
    ("measure", "condition", "direction", "layer", "arm"),
    show,
    data,
    "separability_by_layer",
)
