"""Several models in one figure: separability over relative depth, since their numbers of layers differ."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record, RunRecords
from regap.figures.drawing import style
from regap.figures.drawing.marks import line_in_band
from regap.figures.drawing.menus import measure_menu
from regap.figures.drawing.style import INTERVAL, caption_of, counted

MEASURES = ("d_prime", "auroc", "usable")
DASHES = ("solid", "dash", "dot", "dashdot")


def draw(separability: Mapping[str, Record], *, arms: tuple[str, ...] = ()) -> go.Figure:
    """Return a panel per arm, with a line and interval band per run, over depth from 0 (first block) to 1 (last).

    separability: the table of that name of each run, by the run's name; a run with several models has a line for each.
    arms: the arms to draw; by default text and the image arms that every run has. A menu changes the measure. Raises
    ValueError if no arm is in all runs.
    """
    separability = by_model(separability)
    shown = arms or shared_arms(separability)
    figure = style.row_of_panels(map(style.arm_label, shown))
    drawn = []
    for column, arm in enumerate(shown, 1):
        for place, (name, record) in enumerate(separability.items()):
            rows = at_depths(record, arm)
            drawn.append(rows)
            lines = line_in_band(
                rows[rows["measure"] == MEASURES[0]],
                "depth",
                style.shown(name),
                style.CYCLE[place % len(style.CYCLE)],
                dash=DASHES[place // len(style.CYCLE) % len(DASHES)],
                showlegend=column == 1,
            )
            figure.add_traces(lines, rows=1, cols=column)
    style.dress(figure, "Separability over relative depth", "One line per run; click a run to hide it")
    figure.update_xaxes(title_text="relative depth", range=[-0.02, 1.02])
    figure.update_yaxes(title_text=style.MEASURES[MEASURES[0]], col=1)
    menu = measure_menu(MEASURES, drawn, "depth", lambda name: {"yaxis.title.text": style.MEASURES[name]})
    return figure.update_layout(updatemenus=menu)


def caption(separability: Mapping[str, Record]) -> str:
    """What the figure shows, of which runs, on how many prompts."""
    sizes = pd.concat([record.table["n"] for record in separability.values()])
    return caption_of(
        "Separability of harmful and harmless prompts along each model's own refusal direction, at the output of "
        "each block, over relative depth: 0 is the first block, 1 the last.",
        f"Runs: {', '.join(separability)}.",
        INTERVAL,
        counted(sizes, "prompts per estimate") + ".",
        "That separability collapses on images is the paper's claim; the measures are our operationalisation.",
    )


def by_model(separability: Mapping[str, Record]) -> dict[str, Record]:
    """The tables with one model each; where a run holds several, its name is followed by the model's."""
    found = {}
    for name, record in separability.items():
        models = list(record.table["model"].unique())
        for model in models:
            one = Record(record.name, record.where(model=model))
            found[name if len(models) == 1 else f"{name} · {model}"] = one
    return found


SHOWN = ("text", "typographic", "picture", "speech")


def shared_arms(separability: Mapping[str, Record]) -> tuple[str, ...]:
    """Text and the image arms that all runs have; ValueError when they share none."""
    found = [set(record.table["arm"]) for record in separability.values()]
    shared = sorted(set.intersection(*found), key=style.arm_order)
    wanted = [arm for arm in shared if arm.partition("-")[0] in SHOWN][:4]
    if not wanted:
        raise ValueError("no arm is in all runs; capture one arm in all of them")
    return tuple(wanted)


def at_depths(record: Record, arm: str) -> pd.DataFrame:
    """The rows of an arm along the refusal direction without correction, with each layer's relative depth."""
    rows = record.where(arm=arm, direction="refusal")
    rows = rows[rows["condition"].isin(("none", "baseline"))]
    deepest = max(int(record.table["layer"].max()), 1)
    return rows.assign(depth=rows["layer"] / deepest)


def named(runs: Mapping[str, RunRecords]) -> dict[str, Record]:
    """The table `separability` of each run; ValueError names the run that has none."""
    for name, run in runs.items():
        if "separability" not in run.records:
            raise ValueError(
                f"run {name!r} has no table separability; `regap run` or `regap capture` makes it"
            )
    return {name: run.records["separability"] for name, run in runs.items()}
