"""The detail of one item: picture, request, prompt, answers, verdicts, coordinates by layer, and other arms."""

import base64
from collections.abc import Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from dash import dcc, html

from regap.figures.drawing import style
from regap.figures.drawing.style import on_paper
from regap.figures.examples import HARMFUL_LETTERS, shortened
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.prompts import Asked
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.views.trajectories import DASHES
from regap.figures.explorer.views.view import sends

HEIGHT = 190


def detail(run: ExploredRun, query: Query) -> list[Any]:
    """Return everything that the run has on the chosen item, as parts of a page; its text is never markup."""
    if not query.item:
        return []
    try:
        rows = run.items.of(query.item)
    except Missing:
        rows = pd.DataFrame()
    asked = run.prompts.one(query.item, query.item_arm)
    return [
        heading(run, query, rows),
        picture(asked),
        block("request", asked.request or "not stored in this run"),
        folded(
            "rendered prompt", asked.rendered or "not stored in this run; `regap explore --model` shows it"
        ),
        html.H3("answers"),
        *answers(run, query, rows),
        *way(run, query, rows),
        html.H3("the same request in other arms"),
        *other_arms(run, query, rows),
    ]


def heading(run: ExploredRun, query: Query, rows: pd.DataFrame) -> html.Div:
    """Return the item's name with its arm, label, category and split."""
    known = [style.arm_label(query.item_arm) if query.item_arm in style.ARMS else query.item_arm]
    if len(rows):
        known += [str(rows[name].iloc[0]) for name in ("label", "category", "split")]
    else:
        known += ["no item of this name in the run"]
    close = html.Button("×", type="button", id="close", title="close (Esc)", **sends(set="item", value=""))
    return html.Div(
        [
            close,
            html.H2(shortened(query.item, 80), dir="auto"),
            html.P(" · ".join(filter(None, known)), dir="auto"),
            html.P(run.name, className="faint"),
        ]
    )


def picture(asked: Asked) -> Any:
    """Return the picture, blurred until it is clicked, or a player of the sound."""
    if asked.sound is not None:
        heard = "data:audio/flac;base64," + base64.b64encode(asked.sound).decode()
        return html.Audio(src=heard, controls=True, preload="metadata", title="the prompt's sound")
    if asked.picture is None:
        return html.P("no picture or sound is stored for this item", className="faint")
    source = "data:image/png;base64," + base64.b64encode(asked.picture).decode()
    image = html.Img(src=source, alt="the prompt's picture, blurred")
    return html.Button(image, type="button", className="picture", title="show or blur the picture")


def block(name: str, text: str) -> html.Div:
    """Return a text block with a heading, in the text's own writing direction."""
    return html.Div([html.H3(name), html.Div(text, className="text", dir="auto")])


def folded(name: str, text: str, open_: bool = False) -> html.Details:
    """Return a text block that opens on a click."""
    return html.Details([html.Summary(name), html.Div(text, className="text", dir="auto")], open=open_)


def answers(run: ExploredRun, query: Query, rows: pd.DataFrame) -> list[Any]:
    """Return the answer under each condition, with the verdict of each judge."""
    known = run.answers
    if known is None:
        return [html.P("This run has no answers yet; `regap run` makes them.", className="faint")]
    here = {"pair_id": query.item, "arm": query.item_arm}
    said, judged = (only(table, **here) for table in (known.completions, known.verdicts))
    if said.empty:
        return [html.P("This item was not answered; only test prompts are.", className="faint")]
    harmful = len(rows) > 0 and rows["label"].iloc[0] == "harmful"
    found = []
    for row in said.to_dict("records"):
        condition = str(row["condition"])
        name = style.CONDITIONS[condition][0] if condition in style.CONDITIONS else condition
        verdicts = judged[judged["condition"] == condition].to_dict("records")
        found.append(answer(name, str(row["text"]), harmful, map(verdict, verdicts)))
    return found


def answer(name: str, text: str, harmful: bool, verdicts: Iterable[Any]) -> html.Div:
    """Return one answer; an answer to a harmful prompt is shortened until it is opened."""
    whole = harmful and len(text) > HARMFUL_LETTERS
    short = shortened(text, HARMFUL_LETTERS) if whole else text
    shown: list[Any] = [html.Div(short, className="text", dir="auto")]
    if whole:
        shown.append(folded("show all of it", text))
    return html.Div([html.H4(name), *shown, *verdicts], className="answer")


def verdict(row: dict[Any, Any]) -> html.P:
    """Return a judge's verdict and its reason."""
    kind = str(row["verdict"])
    said = [html.Span(kind.replace("_", " "), className=f"verdict {kind}"), f" {row['judge']}"]
    reason = row["reason"] if isinstance(row["reason"], str) and row["reason"] else ""
    return html.P([*said, f": {reason}" if reason else ""], className="judged", dir="auto")


def way(run: ExploredRun, query: Query, rows: pd.DataFrame) -> list[Any]:
    """Return the refusal coordinate of the item by layer, with a line per condition."""
    rows = rows[rows["arm"] == query.item_arm] if len(rows) else rows
    if rows.empty:
        return []
    figure = go.Figure()
    for place, condition in zip(rows.index, rows["condition"], strict=True):
        label, colour = style.CONDITIONS.get(condition, (style.shown(condition), style.GREEN))
        figure.add_scatter(
            x=list(run.items.layers),
            y=run.items.refusal[:, place],
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": DASHES.get(condition, "longdash")},
            marker={"size": 4},
            name=label,
            hovertemplate=f"{label}<br>layer %{{x}}: z %{{y:.3g}}<extra></extra>",
        )
    figure.update_layout(
        template=style.template(),
        height=HEIGHT,
        margin={"l": 44, "r": 8, "t": 8, "b": 34},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 10}},
        font_size=11,
    )
    figure.update_xaxes(title_text="layer")
    figure.update_yaxes(title_text="z")
    graph = dcc.Graph(
        figure=on_paper(figure, query.theme),
        config={"displayModeBar": False},
        style={"height": f"{HEIGHT}px"},
    )
    return [html.H3("refusal coordinate by layer"), graph]


def other_arms(run: ExploredRun, query: Query, rows: pd.DataFrame) -> list[Any]:
    """A button to the item in each arm, with its verdicts before and after correction."""
    if rows.empty:
        return []
    facts = only(run.answers.facts, pair_id=query.item) if run.answers else pd.DataFrame()
    listed = []
    for arm in sorted(rows["arm"].unique(), key=style.arm_order):
        own = facts[facts["arm"] == arm] if len(facts) else facts
        verdicts: list[Any] = [
            html.Span(
                f"{row['condition']}: {row['verdict'].replace('_', ' ')}",
                className=f"verdict {row['verdict']}",
            )
            for row in own.to_dict("records")
        ]
        here = sends(item=query.item, arm=arm, side=str(query.side))
        button = html.Button(arm, type="button", disabled=arm == query.item_arm, className="plain", **here)
        listed.append(html.Li([button, *verdicts]))
    return [html.Ul(listed, className="arms")]


def only(table: pd.DataFrame, **equal: str) -> pd.DataFrame:
    """The rows whose columns equal these values."""
    for column, value in equal.items():
        table = table[table[column] == value]
    return table
