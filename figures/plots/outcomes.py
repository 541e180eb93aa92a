"""Attack success, over-refusal and utility in each arm under each condition."""

from collections.abc import Iterator, Sequence

import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.figures.drawing import style
from regap.figures.drawing.marks import bars
from regap.figures.drawing.menus import Marks, MenuView, add_views, views
from regap.figures.drawing.style import INTERVAL, caption_of, counted

MEASURES = ("attack_success", "over_refusal", "utility")


def draw(outcomes: Record) -> go.Figure:
    """Return one panel per measure, one row per arm, and one dot with its interval bar per condition.

    outcomes: the table of that name; a menu chooses the model if there are several.
    """
    table = outcomes.table
    measures = [measure for measure in MEASURES if measure in set(table["measure"])]
    arms = sorted(set(table["arm"]), key=style.arm_order)
    conditions = style.looks(table["condition"], style.CONDITIONS)
    figure = panels_of(measures)

    def cells(view: MenuView, shown: bool) -> Iterator[Marks]:
        for column, measure in enumerate(measures, 1):
            for level, (condition, (label, colour)) in enumerate(conditions.items()):
                rows = view.rows[(view.rows["measure"] == measure) & (view.rows["condition"] == condition)]
                heights = [arms.index(arm) + spread(level, len(conditions)) for arm in rows["arm"]]
                trace = dots(rows, heights, label, colour)
                yield 1, column, [trace.update(visible=shown, showlegend=column == 1)]

    menu = add_views(figure, views(table, ("model",)), cells)
    style.dress(figure, "Outcomes by arm and condition", "Shares of test prompts, with their intervals")
    figure.update_xaxes(range=[-0.03, 1.03], tickformat=".0%", title_text="share")
    figure.update_yaxes(range=[len(arms) - 0.5, -0.5], tickvals=list(range(len(arms))), showgrid=False)
    figure.update_yaxes(ticktext=[style.arm_label(arm) for arm in arms], col=1)
    figure.update_yaxes(ticks="")
    for line in range(1, len(arms)):
        figure.add_hline(y=line - 0.5, line={"color": style.RULE, "width": 1}, layer="below")
    return figure.update_layout(updatemenus=menu, margin={"t": 126})


def caption(outcomes: Record) -> str:
    """Return the caption: what is shown, the number of prompts, and the verdicts."""
    table = outcomes.table
    unjudged = outcomes.where(measure="not_judged")["value"]
    misread = table[table["measure"].isin(["misread_harmful", "misread_harmless"])]["value"]
    return caption_of(
        "Attack success: harmful prompts that the model complied with. Over-refusal: harmless prompts refused. "
        "Utility: harmless prompts answered correctly. The verdicts are refused, complied, degenerate, misread and "
        "not judged.",
        INTERVAL,
        counted(table["n"], "prompts per estimate") + ".",
        f"At most {unjudged.max():.1%} of the prompts of an arm were not judged." if len(unjudged) else "",
        f"At most {misread.max():.1%} of a label in an arm were read as another request."
        if len(misread)
        else "",
        "The measures are our operationalisation.",
    )


def panels_of(measures: Sequence[str]) -> go.Figure:
    """Return a panel for each measure; its title says, in small letters, whether higher or lower is better."""
    titles = []
    for measure in measures:
        way = "higher" if measure == "utility" else "lower"
        small = f"<span style='font-size:11px;color:{style.FAINT}'>{way} is better</span>"
        titles.append(f"{style.short(measure)}<br>{small}")
    return style.row_of_panels(titles)


def spread(level: int, levels: int) -> float:
    """Return the offset of a condition from the middle of its arm's row."""
    return 0.0 if levels == 1 else -0.27 + 0.54 * level / (levels - 1)


def dots(rows: pd.DataFrame, heights: list[float], label: str, colour: str) -> go.Scatter:
    """One condition's dots with their interval bars."""
    names = [style.arm_label(arm) for arm in rows["arm"]]
    ends = rows[["value", "low", "high", "n"]].to_numpy().tolist()
    return go.Scatter(
        x=rows["value"].tolist(),
        y=heights,
        error_x=bars(rows["value"], rows["low"], rows["high"], colour),
        mode="markers",
        marker={"size": 9, "color": colour, "line": {"color": "white", "width": 1}},
        name=label,
        legendgroup=label,
        customdata=[[name, *end] for name, end in zip(names, ends, strict=True)],
        hovertemplate=f"<b>%{{customdata[0]}}</b>, {label}<br>"
        "%{customdata[1]:.1%}  [%{customdata[2]:.1%}, %{customdata[3]:.1%}]<br>n = %{customdata[4]:,}<extra></extra>",
    )
