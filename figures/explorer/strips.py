"""Tokens of a prompt, and the patches of its picture over the picture itself, coloured by their projections."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from dash import html

from regap.analyses.live.question import LiveAnswer, LivePicture
from regap.figures.drawing import style
from regap.figures.explorer.run.prompts import safe

LONGEST = 280
"""Pixels of the page that either side of the picture may take."""
NOTES = {
    "refusal": "Colour: z at the edited layer, without the intervention; red towards refusal.",
    "drift": "Colour: δ at the edited layer, without the intervention; red towards the image arm, blue away from it.",
}


@dataclass(frozen=True, eq=False)
class Colouring:
    """From a token to its colour: red above 0, blue below, full at the scale."""

    values: Sequence[float] = field(repr=False)
    scale: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Colouring":
        """The colouring whose scale all but one in fifty of the values keep to."""
        return cls(values, float(np.quantile(np.abs(np.array(values)), 0.98)) or 1.0)

    def __getitem__(self, place: int) -> str:
        value = self.values[place]
        return style.clear(
            style.VERMILLION if value > 0 else style.BLUE, min(abs(value) / self.scale, 1) * 0.7
        )


def strips(answer: LiveAnswer, along: str) -> list[Any]:
    """The words of the prompt, and the patches where they lie in the picture; along: refusal or drift."""
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
    """The patches over the picture, blurred until it is clicked; a strip where they make no rectangle over it."""
    if not answer.image_tokens:
        return []
    squares = [token(answer, place, colours, shown="") for place in answer.image_tokens]
    seen = answer.picture
    png = safe(seen.png) if seen else None
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
    """How many pixels wide it is on the page, so that neither side is too long."""
    return max(1, round(min(LONGEST, LONGEST * seen.width / seen.height)))


def token(answer: LiveAnswer, place: int, colours: Colouring, shown: str | None = None) -> html.Span:
    """One token on its colour, with its numbers in words for a pointer."""
    text = answer.tokens[place]
    return html.Span(
        text if shown is None else shown,
        title=f"{text}: z {answer.token_refusal[place]:.3g}, δ {answer.token_drift[place]:.3g}",
        style={"background": colours[place]},
    )
