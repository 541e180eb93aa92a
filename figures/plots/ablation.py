"""Heat maps of ablation: the change of refusal when a component of a layer is replaced."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.heat import colour_bar, heat_figure, heat_map, largest
from regap.figures.drawing.menus import MenuView, views
from regap.figures.drawing.style import INTERVAL, caption_of, counted

COMPONENTS = ("attention", "mlp", "block", "state", "refusal", "drift", "head")
NAMES = {"mlp": "MLP", "refusal": "refusal direction", "drift": "drift direction"}
CONTROLS = {"none": "", "random": "random, equal norm", "self": "patched with itself"}
REPLACED = {
    "patch-text": "patched from the text run",
    "patch-image": "patched from the image run",
    "mean": "replaced by the mean",
    "resample": "replaced by a harmless prompt's",
    "zero": "replaced by zero",
    "unread": "without what it reads from the request",
}


def draw(ablation: Record) -> go.Figure:
    """Return a heat map of layer by component for each label: the change of a quantity by the replacement.

    A menu chooses quantity, arm, replacement and model; controls are rows of the same map, and so are positions and
    heads if there are several. ablation: the table of that name.
    """
    table = at_last_block(ablation.table)
    several = table["positions"].nunique() > 1
    table = table.assign(line=[line_of(row, several) for row in table.to_dict("records")])
    found = views(table, ("measure", "replacement", "arm", "model"), {"replacement": REPLACED})
    tallest = max(view.rows["line"].nunique() for view in found)
    return heat_figure(
        found,
        cells,
        "Ablation by layer and component",
        "Change when the component is replaced; a dot: the interval includes 0",
        max(420, 240 + 24 * tallest),
    )


def cells(view: MenuView, rows: pd.DataFrame, **common: Any) -> go.Heatmap:
    """Return the heat map of one label in a view."""
    lines, bound = lines_of(view.rows), largest(view.rows["value"])
    unit, colorbar = style.unit(rows["measure"].iloc[0]), bar(rows.iloc[0])
    return heat_map(rows, "layer", "line", lines, lines, bound=bound, unit=unit, colorbar=colorbar, **common)


def caption(ablation: Record) -> str:
    """Return the caption: what is shown, the number of prompts, and the controls."""
    return caption_of(
        "Each cell: the component's output at this layer is replaced; the colour is the change of the quantity "
        "(after minus before, on the same test prompts); a dot marks an interval that includes 0.",
        "Two controls: 'random, equal norm' moves the state as far in a random direction; 'patched with itself' "
        "must change nothing.",
        INTERVAL,
        counted(ablation.table["n"], "prompts per estimate") + ".",
    )


def at_last_block(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows to draw; for z, only those read at the last block of the model."""
    last = table.groupby("model")["read_layer"].transform("max")
    return table[(table["measure"] != "z") | (table["read_layer"] == last)]


def line_of(row: dict[Any, Any], places: bool) -> str:
    """Return the name of a line of the map."""
    part = NAMES.get(row["component"], row["component"])
    part = f"head {row['head']}" if row["head"] >= 0 else part
    where = f" at {row['positions']}" if places else ""
    span = f" of {row['layers']}" if row["layers"] != str(row["layer"]) else ""
    control = f" ({CONTROLS[row['control']]})" if CONTROLS[row["control"]] else ""
    return f"{part}{span}{where}{control}"


def lines_of(rows: pd.DataFrame) -> list[str]:
    """Return the lines in order: components first, controls below."""
    place = {name: at for at, name in enumerate(COMPONENTS)}
    controls = {name: at for at, name in enumerate(CONTROLS)}
    order = {
        row["line"]: (controls[row["control"]], place[row["component"]], row["head"], row["line"])
        for row in rows.to_dict("records")
    }
    return sorted(order, key=lambda line: order[line])


def bar(row: "pd.Series[Any]") -> dict[str, Any]:
    """Return the colour bar of a view, with its quantity, replacement and arm."""
    unit = style.unit(row["measure"])
    told = f"change of {style.short(row['measure'])}{'' if unit == 'share' else f' ({unit})'}"
    below = f"{REPLACED[row['replacement']]}, {style.arm_label(row['arm'])}"
    return colour_bar(f"{told}<br>{below}", "+.0%" if unit == "share" else "+.2~g")
