"""The refusal coordinate of harmful and harmless prompts as text, as images, and as images under the correction."""

from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.errors import ConfigError
from regap.figures.drawing import style
from regap.figures.drawing.menus import Marks, MenuView, add_views, views
from regap.figures.drawing.style import caption_of, counted

CORRECTED = "fixed"
"""The condition of the last panel."""
SIDES = {"harmless": "negative", "harmful": "positive"}


def draw(
    coordinates: Record,
    outcomes: Record | None = None,
    *,
    threshold: dict[int, float] | None = None,
    layer: int | None = None,
) -> go.Figure:
    """Return three panels: text, images, and images under the fixed correction, each with both labels' distributions.

    coordinates, outcomes: the tables of these names; the second gives the shares that are refused. threshold: fitted
    on text, by layer. layer: by default the last. Raises ConfigError if the run has no corrected images.
    """
    rows = _shown(coordinates.table, layer)
    panels = _panels(rows)
    figure = style.row_of_panels([_title(name, arm, condition, outcomes) for name, arm, condition in panels])

    def cells(view: MenuView, shown: bool) -> Iterator[Marks]:
        for column, (_, arm, condition) in enumerate(panels, 1):
            own = view.rows[(view.rows["arm"] == arm) & (view.rows["condition"] == condition)]
            yield 1, column, [each.update(visible=shown, showlegend=column == 1) for each in _halves(own)]

    found = views(rows, ("model",))
    menu = add_views(figure, found, cells)
    number = int(rows["layer"].iloc[0])
    style.dress(
        figure, "Text, image, image corrected", f"Refusal coordinate z at layer {number}, test prompts"
    )
    figure.update_xaxes(showticklabels=False, ticks="", showgrid=False)
    figure.update_yaxes(title_text="refusal coordinate z", col=1)
    figure.update_yaxes(matches="y", showticklabels=True)
    if threshold and number in threshold and len(found) == 1:
        figure.add_hline(y=threshold[number], line={"color": style.FAINT, "width": 1, "dash": "dot"})
    return figure.update_layout(updatemenus=menu, violingap=0.1, violinmode="overlay", margin={"t": 140})


def _shown(table: pd.DataFrame, layer: int | None) -> pd.DataFrame:
    """Return the test prompts of text without correction and of corrected images without and with it, at one layer."""
    test = table[table["split"] == "test"]
    chosen = test["layer"].max() if layer is None else layer
    return test[test["layer"] == chosen]


def _panels(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return name, arm and condition of each panel."""
    corrected = [arm for arm in rows[rows["condition"] == CORRECTED]["arm"].unique() if arm != "text"]
    if not corrected:
        raise ConfigError("the run has no images under the fixed correction; `regap run` makes them")
    arm = str(corrected[0])
    named = style.arm_label(arm)
    return [
        (style.arm_label("text"), "text", "baseline"),
        (named, arm, "baseline"),
        (f"{named}, corrected", arm, CORRECTED),
    ]


def _title(name: str, arm: str, condition: str, outcomes: Record | None) -> str:
    """Return the panel's name and, in small letters, the shares that are refused."""
    if outcomes is None:
        return name
    found = outcomes.where(arm=arm, condition=condition)
    found = (
        found[found["model"] == found["model"].iloc[0]].set_index("measure")["value"] if len(found) else None
    )
    if found is None or not {"refusal", "over_refusal"} <= set(found.index):
        return name
    told = f"harmful refused {found['refusal']:.1%}<br>harmless refused {found['over_refusal']:.1%}"
    return f"{name}<br><span style='font-size:11px;color:{style.FAINT}'>{told}</span>"


def _halves(rows: pd.DataFrame) -> Iterator[go.Violin]:
    """Yield one half for each label: its outline, and a sample of its prompts."""
    for label, (name, colour) in style.LABELS.items():
        z = rows[rows["label"] == label]["refusal"]
        yield go.Violin(
            y=z.tolist(),
            x0=" ",
            side=SIDES[label],
            name=name,
            legendgroup=name,
            line={"color": colour, "width": 1.5},
            fillcolor=style.clear(colour, 0.25),
            points=False,
            meanline={"visible": True},
            spanmode="hard",
            scalemode="width",
            width=0.9,
            hoverinfo="y+name",
        )


def caption(coordinates: Record, outcomes: Record | None = None, *, layer: int | None = None) -> str:
    """Return the caption: what is shown, of how many prompts, and what is the paper's."""
    rows = _shown(coordinates.table, layer)
    counts = rows.groupby(["model", "arm", "condition", "label"])["pair_id"].count()
    shares = "" if outcomes is None else "The small lines give the shares of whole answers that refuse."
    return caption_of(
        "Distribution of the refusal coordinate of harmful (right halves) and harmless (left halves) test prompts, as "
        "text, as images, and as images under the fixed correction. Lines inside are means; the dotted line is the "
        "threshold between both labels that was fitted on calibration text.",
        shares,
        counted(counts, "prompts per half") + ".",
        "That images collapse this separation is the paper's claim; the coordinate is our operationalisation.",
    )
