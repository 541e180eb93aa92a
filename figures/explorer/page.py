"""The page around the views: tabs, controls, a column for each run, and the detail of the chosen item."""

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from regap.figures.explorer.controls import control
from regap.figures.explorer.run.explored import ExploredRun
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.views.view import View, aria, sends
from regap.figures.gallery import CONFIG

GRAPH: Any = {**CONFIG, "scrollZoom": True, "doubleClick": "reset"}
KEYS = (
    ("1 – 9", "the views"),
    ("← →", "a layer up or down"),
    ("space", "play through the layers, and stop"),
    ("b", "show or blur the picture"),
    ("d", "light or dark"),
    ("Esc", "close the item"),
    ("Tab", "to every control and button"),
)


def layout(runs: Sequence[ExploredRun], views: Sequence[View]) -> html.Div:
    """Return the frame, which is the same for all views."""
    return html.Div(
        [
            dcc.Store(id="arrived"),
            dcc.Store(id="address"),
            dcc.Store(id="item"),
            dcc.Download(id="download"),
            dcc.Interval(id="clock", interval=600, disabled=True),
            header(views),
            html.Div(
                [
                    html.Div(id="controls", className="controls"),
                    html.Main([html.P(id="hint", className="hint"), sides(runs)]),
                    html.Aside(id="detail", **aria(label="the chosen item", live="polite")),
                ],
                className="body",
            ),
        ],
        id="explorer",
    )


def header(views: Sequence[View]) -> html.Header:
    """The tabs to the views, light or dark, and the keys."""
    tabs = [
        dcc.Link(
            [html.Kbd(str(place)), view.heading], href=f"/{view.name}", id={"type": "tab", "view": view.name}
        )
        for place, view in enumerate(views, 1)
    ]
    keys = html.Details(
        [
            html.Summary("keys"),
            html.Dl([part for key, does in KEYS for part in (html.Dt(key), html.Dd(does))]),
        ],
        className="keys",
    )
    theme = html.Button("◐", type="button", id="theme", title="light or dark (d)")
    share = html.Button("copy address", type="button", **sends(copy="address"))
    return html.Header(
        [
            html.Strong("regap"),
            html.Nav(tabs, **aria(label="views")),
            html.Div([share, theme, keys], className="tools"),
        ]
    )


def sides(runs: Sequence[ExploredRun]) -> html.Div:
    """A column for each run."""
    return html.Div([side(place, run) for place, run in enumerate(runs)], className=f"sides of-{len(runs)}")


def side(place: int, run: ExploredRun) -> html.Section:
    """Return the column of one run: name, figure or table, caption, and buttons to export."""
    graph = dcc.Graph(
        id=f"graph-{place}",
        config=GRAPH,
        style={"display": "none"},
    )
    took = html.Div(
        [
            html.Button("download data", type="button", id=f"save-{place}"),
            html.Button("copy command", type="button", **sends(copy=f"command-{place}")),
            html.Code(id=f"command-{place}"),
        ],
        className="took",
    )
    return html.Section(
        [
            html.H1(run.name, dir="auto", title=str(run.folder)),
            graph,
            html.Div(id=f"parts-{place}", className="parts"),
            html.P(id=f"caption-{place}", className="caption", dir="auto"),
            took,
        ],
        **sends(run=str(place)),
    )


def controls_of(view: View, runs: Sequence[ExploredRun], query: Query) -> list[Any]:
    """Return the controls of a view; filters are folded."""
    folded = [name for name in view.controls if name in ("label", "category", "verdict", "only", "search")]
    plain = [control(name, runs, query) for name in view.controls if name not in folded]
    if not folded:
        return plain
    is_open = view.name == "items" or any(getattr(query, name) for name in folded)
    inside = [control(name, runs, query) for name in folded]
    return [*plain, html.Details([html.Summary("filter items"), *inside], open=is_open, className="filters")]


def problem(message: str) -> html.Div:
    """Return a message in place of a figure."""
    return html.Div(html.P(message, dir="auto"), className="problem", role="status")
