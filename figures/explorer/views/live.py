"""View: intervene in the loaded model, on the chosen item."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from dash import dcc, html
from plotly.subplots import make_subplots

from regap.analyses.live.question import Live, LiveAnswer, LivePicture, LiveQuestion, LiveState
from regap.figures.drawing import style
from regap.figures.drawing.style import dressed
from regap.figures.explorer.detail import answer, folded
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.prompts import safe_picture
from regap.figures.explorer.run.query import Query, as_the_run
from regap.figures.explorer.views.view import Shown, View
from regap.geometry.prompts.positions import Position

LONGEST = 280
"""Longest side of the picture on the page, in pixels."""
NOTES = {
    "refusal": "Colour: z at the edited layer, without the intervention; red towards refusal.",
    "drift": "Colour: δ at the edited layer, without the intervention; red towards the image arm, blue away from it.",
}


@dataclass(frozen=True, eq=False)
class Colouring:
    """The colour of each token: red above 0, blue below, saturated at the scale."""

    values: Sequence[float] = field(repr=False)
    scale: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Colouring":
        """Return the colouring with the 98th percentile of absolute values as its scale."""
        return cls(values, float(np.quantile(np.abs(np.array(values)), 0.98)) or 1.0)

    def __getitem__(self, place: int) -> str:
        value = self.values[place]
        return style.clear(
            style.VERMILLION if value > 0 else style.BLUE, min(abs(value) / self.scale, 1) * 0.7
        )


def strips(answer: LiveAnswer, along: str) -> list[Any]:
    """Return the prompt's text tokens, and its image patches over the picture; along: refusal or drift."""
    if not answer.tokens:
        return []
    colours = Colouring.of(answer.token_drift if along == "drift" else answer.token_refusal)
    patches = set(answer.image_tokens)
    words = [token(answer, place, colours) for place in range(len(answer.tokens)) if place not in patches]
    note = html.P(NOTES["drift" if along == "drift" else "refusal"], className="faint")
    halves = [html.Div([note, html.Div(words, className="tokens")]), html.Div(picture(answer, colours))]
    summary = html.Summary(f"tokens and patches along {'D' if along == 'drift' else 'r'}")
    return [html.Details([summary, html.Div(halves, className="halves")], open=True)]


def picture(answer: LiveAnswer, colours: Colouring) -> list[Any]:
    """Return the patches over the picture, blurred until clicked; in a row if they form no grid over it."""
    if not answer.image_tokens:
        return []
    squares = [token(answer, place, colours, shown="") for place in answer.image_tokens]
    seen = answer.picture
    png = safe_picture(seen.png) if seen else None
    if seen is None or png is None or seen.rows * seen.columns != len(squares):
        why = (seen.problem if seen else "") or "the picture cannot be shown"
        told = f"{len(squares)} patches in the model's order, not over the picture: {why}."
        return [html.P(told, className="faint", dir="auto"), html.Div(squares, className="strip")]
    grid = {
        "gridTemplateColumns": f"repeat({seen.columns}, 1fr)",
        "gridTemplateRows": f"repeat({seen.rows}, 1fr)",
    }
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    over = [html.Img(src=source, alt="the prompt's picture, blurred"), html.Span(squares, style=grid)]
    told = f"{seen.rows} × {seen.columns} patches over the picture; click it or press b to see it clearly."
    return [
        html.P(told, className="faint"),
        html.Button(
            over,
            type="button",
            className="picture patched",
            style={"width": f"{width_of(seen)}px", "aspectRatio": f"{seen.width} / {seen.height}"},
            title="show or blur the picture",
        ),
    ]


def width_of(seen: LivePicture) -> int:
    """Return the width of the picture on the page in pixels, so that neither side is too long."""
    return max(1, round(min(LONGEST, LONGEST * seen.width / seen.height)))


def token(answer: LiveAnswer, place: int, colours: Colouring, shown: str | None = None) -> html.Span:
    """Return one coloured token, with its values in the tooltip."""
    text = answer.tokens[place]
    return html.Span(
        text if shown is None else shown,
        title=f"{text}: z {answer.token_refusal[place]:.3g}, δ {answer.token_drift[place]:.3g}",
        style={"background": colours[place]},
    )


KNOWN = ("D", "D_along", "D_across")
SIDES = (("before", "no intervention", style.GREY, "dot"), ("after", "with it", style.VERMILLION, "solid"))


def live_view(live: Live | None) -> View:
    """Return the view of this model; without a model it explains how to load one."""

    def show(run: ExploredRun, query: Query) -> Shown:
        asked, answer = asked_of(live, query)
        rows = run.items.of(asked.pair_id)
        harmful = len(rows) > 0 and rows["label"].iloc[0] == "harmful"
        gate = f", the gate reads {answer.signal}" if answer.signal else ""
        told = f" {gate_of(answer)}" if answer.gate_told else ""
        caption = (
            f"{asked.arm}, {asked.pair_id}. Layer {asked.layer}, {asked.positions}, {asked.part}; applied strength "
            f"{answer.strength:g}{gate}.{told} {answer.seconds:.2f} s. Judge: {answer.judge}."
        )
        parts = [*back(run, query, answer), spoken(answer, harmful), *strips(answer, query.along)]
        return Shown(figure_of(answer), parts, caption, "260px")

    def data(run: ExploredRun, query: Query) -> pd.DataFrame:  # noqa: ARG001
        return table_of(*asked_of(live, query))

    return replace(VIEW, show=show, data=data)


def asked_of(live: Live | None, query: Query) -> tuple[LiveQuestion, LiveAnswer]:
    """Return the question of a query and its answer; raises Missing if it cannot be asked."""
    if live is None:
        raise Missing(
            "No model is loaded. Start with one to intervene live: regap explore RUN --model organism"
        )
    if not query.item:
        raise Missing("Choose an item first: click a point in the plane, or a row of the items.")
    if query.method not in ("none", "fixed", "regap"):
        raise Missing(f"There is no intervention {query.method!r}; choose another.")
    question = LiveQuestion(
        query.item,
        query.item_arm,
        query.method,
        query.at or 0,
        query.vector if query.vector in KNOWN else "D",
        _written(query.positions),
        query.strength,
        query.gate if query.gate in ("hard", "sigmoid", "line") else "hard",
    )
    try:
        return question, live.ask(question)
    except ValueError as error:
        raise Missing(str(error)) from None


def _written(positions: str) -> str:
    """Return the positions of a query as they are written; raises Missing, with all forms, if they are not known."""
    try:
        return str(Position.of(positions))
    except ValueError as error:
        raise Missing(str(error)) from None


def figure_of(answer: LiveAnswer) -> go.Figure:
    """z and δ of the item by layer, without and with the intervention."""
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.09)
    for column, (name, title) in enumerate(
        (("refusal", "refusal coordinate z"), ("drift", "drift strength δ")), 1
    ):
        for side, label, colour, dash in SIDES:
            values = getattr(getattr(answer, side), name)
            figure.add_scatter(
                x=list(range(len(values))),
                y=list(values),
                mode="lines+markers",
                line={"color": colour, "width": 2.2, "dash": dash},
                name=label,
                showlegend=column == 1,
                row=1,
                col=column,
                hovertemplate=f"{label}<br>layer %{{x}}: %{{y:.3g}}<extra></extra>",
            )
        figure.update_yaxes(title_text=title, row=1, col=column)
    figure.update_xaxes(title_text="layer", dtick=style.layer_steps(range(len(answer.before.refusal))))
    return dressed(figure)


def gate_of(answer: LiveAnswer) -> str:
    """Return the origin of ReGap's gate in words."""
    return f"ReGap: {answer.gate_told}."


def back(run: ExploredRun, query: Query, answer: LiveAnswer) -> list[Any]:
    """Return the origin of ReGap's gate, and a link to the run's own ReGap if another is shown."""
    said: list[Any] = [html.Span(f"{gate_of(answer)} ", dir="auto")] if answer.gate_told else []
    own = as_the_run(query, run)
    if own is not None and own != query:
        link = f"ReGap as the run has it: layer {own.at}, strength {own.strength:g}"
        said.append(dcc.Link(link, href=own.address()))
    return [html.P(said, className="back")] if said else []


def spoken(found: LiveAnswer, harmful: bool) -> html.Div:
    """Return both answers side by side with their verdicts, and the rendered prompt."""
    columns = []
    for side, label, *_ in SIDES:
        state: LiveState = getattr(found, side)
        kind = html.Span(state.verdict.replace("_", " "), className=f"verdict {state.verdict}")
        judged = html.P([kind, f" {state.reason}"], className="judged")
        columns.append(answer(label, state.text, harmful, [judged]))
    return html.Div([html.Div(columns, className="replies"), folded("rendered prompt", found.prompt)])


def table_of(question: LiveQuestion, answer: LiveAnswer) -> pd.DataFrame:
    """Return one row per layer and side, with the question."""
    rows = [
        {"layer": layer, "side": side, "refusal": z, "drift": delta, "verdict": state.verdict}
        for side, state in (("before", answer.before), ("after", answer.after))
        for layer, (z, delta) in enumerate(zip(state.refusal, state.drift, strict=True))
    ]
    asked = {"pair_id": question.pair_id, "arm": question.arm, "method": question.method}
    return pd.DataFrame(rows).assign(**asked, strength=answer.strength, edited_layer=question.layer)


def _nothing(run: ExploredRun, query: Query) -> Any:  # noqa: ARG001
    raise Missing("No model is loaded.")


VIEW = View(
    "live",
    "Live",
    "Intervene in the model itself, on the chosen item",
    ("method", "at", "vector", "positions", "strength", "gate", "along"),
    _nothing,
    _nothing,
)
