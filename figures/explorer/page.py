"""The page around the views: tabs, controls, a column for each run, and the detail of the chosen item."""

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from regap.figures.drawing import style
from regap.figures.drawing.menus import SEPARABILITY
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query, known_arms
from regap.figures.explorer.views.doses import MOVING
from regap.figures.explorer.views.drawn import HEATS
from regap.figures.explorer.views.view import View, aria, sends
from regap.figures.gallery import CONFIG, ENTRIES
from regap.figures.opened_run import in_words

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


NAMES = {
    "layer": "layer",
    "at": "edited layer",
    "strength": "strength α",
    "arm": "arms",
    "condition": "condition",
    "label": "class",
    "category": "category",
    "verdict": "verdict",
    "only": "only items",
    "search": "name or request contains",
    "measure": "measure",
    "dose_measure": "measure",
    "direction": "direction",
    "vector": "vector",
    "density": "show",
    "figure": "figure",
    "method": "intervention",
    "positions": "positions",
    "gate": "gate of ReGap",
    "along": "colour of tokens and patches",
    "heat": "heat maps",
    "asked": "question",
}
VERDICTS = ("refused", "complied", "degenerate", "misread", "not_judged")
CHOICES: dict[str, dict[str, str]] = {
    "label": {"any": "both", "harmful": "harmful ●", "harmless": "harmless ×"},
    "verdict": {"any": "any", **{name: name.replace("_", " ") for name in VERDICTS}},
    "measure": {name: style.short(name) for name in SEPARABILITY},
    "direction": dict(style.DIRECTIONS),
    "vector": {name: style.VECTORS[name][0] for name in MOVING},
    "method": {"none": "none", "fixed": "fixed strength", "regap": "ReGap"},
    "positions": {
        "last": "last token",
        "after_instruction": "after the instruction",
        "image": "image",
        "audio": "sound",
        "image:attention": "image, most attended to",
        "image:norm": "image, longest states",
        "image:blank": "image, unlike a plain picture",
        "image:ink": "image, with ink",
        "request": "request",
        "user": "user's message",
        "template": "chat template",
        "all": "all",
    },
    "gate": {"hard": "hard", "sigmoid": "sigmoid", "line": "clipped line"},
    "along": {"refusal": "z, along r", "drift": "δ, along D"},
    "heat": {"ablation": "parts by layer", "sweep": "strengths by layer"},
}
TICKED = {
    "only": {"disagree": "judges disagree", "flipped": "flipped by the correction"},
    "density": {"on": "density"},
}


def control(name: str, runs: Sequence[ExploredRun], query: Query) -> html.Div:
    """Return one control with its label, set to the query's value."""
    made = widget(name, runs, query)
    label = html.Div(NAMES[name], className="label", id=f"label-{name}")
    return html.Div(
        [label, made], className=f"control of-{name}", role="group", **aria(labelledby=f"label-{name}")
    )


def widget(name: str, runs: Sequence[ExploredRun], query: Query) -> Any:
    """Return the control itself; its id names the field of the query that it sets."""
    if name in ("layer", "at"):
        return layer_slider(name, layers_of(runs), getattr(query, name))
    if name == "strength":
        marks = {value: f"{value:g}" for value in (-1, 0, 1, 2, 3)}
        return dcc.Slider(
            -1,
            3,
            0.05,
            value=query.strength,
            marks=marks,
            updatemode="drag",
            id=ident("strength"),
            allow_direct_input=False,
            included=False,
        )
    if name == "arm":
        return arm_list(runs, query)
    if name in TICKED:
        return dcc.Checklist(options(TICKED[name]), list(getattr(query, name)), id=ident(name))
    if name == "search":
        return dcc.Input(query.search, type="text", debounce=0.4, maxLength=200, id=ident("search"))
    return menu(name, runs, query)


def ident(name: str) -> dict[str, str]:
    """Return the id of a control, by which its value gets into the address."""
    return {"type": "control", "name": name}


def menu(name: str, runs: Sequence[ExploredRun], query: Query) -> dcc.Dropdown:
    """A menu of what the runs have."""
    field = "measure" if name == "dose_measure" else name
    chosen, known = getattr(query, field) or "any", choices(name, runs)
    if name == "positions" and chosen not in known:
        known = {**known, chosen: chosen}  # one token, such as image[3], is written in the address
    return dcc.Dropdown(
        options(known),
        chosen,
        id=ident(field),
        clearable=False,
        searchable=name in ("category", "figure"),
    )


def choices(name: str, runs: Sequence[ExploredRun]) -> dict[str, str]:
    """What a menu offers, each value with its name in words."""
    if name in CHOICES:
        return CHOICES[name]
    if name == "figure":
        return {key: entry.heading for key, entry in ENTRIES.items()}
    if name == "asked":
        found = {}
        for run in runs:
            known = run.questions
            found |= {one.folder.name: in_words(one, known) for one in known if set(one.tables) & set(HEATS)}
        return {"any": "the newest", **found}
    if name == "dose_measure":
        found = gathered(runs, lambda run: run.record("strength").table["measure"].unique())
        return {measure: style.short(measure) for measure in found or ["d_prime"]}
    found = gathered(runs, lambda run: run.items.rows[name].cat.categories)
    if name == "condition":
        found = style.ordered(found or ["baseline"], style.CONDITIONS)
        return {each: style.CONDITIONS.get(each, (each,))[0] for each in found}
    return {"any": "any", **{each: each for each in found}}


def gathered(runs: Sequence[ExploredRun], read: Any) -> list[str]:
    """Return the distinct values of all runs; runs without the table are skipped."""
    found: dict[str, None] = {}
    for run in runs:
        try:
            found |= dict.fromkeys(str(each) for each in read(run))
        except Missing:
            continue
    return list(found)


def layers_of(runs: Sequence[ExploredRun]) -> list[int]:
    """Return the layers of the deepest run; one layer if none was read yet."""
    found = [0]
    for run in runs:
        try:
            layers = list(run.items.layers)
        except Missing:
            try:
                layers = sorted(set(run.record("separability").table["layer"].tolist()))
            except Missing:
                continue
        found = max(found, layers, key=len)
    return found


def layer_slider(name: str, layers: list[int], value: int | None) -> html.Div:
    """Return a slider over the layers; the one named `layer` has a play button."""
    step = style.layer_steps(layers) if len(layers) > 1 else 1
    slider = dcc.Slider(
        layers[0],
        max(layers[-1], layers[0] + 1),
        1,
        value=layers[-1] if value is None else value,
        marks={
            layer: str(layer)
            for layer in layers
            if (layer - layers[0]) % max(step, len(layers) // 8 + 1) == 0
        },
        updatemode="drag",
        included=False,
        allow_direct_input=False,
        tooltip={"placement": "bottom"},
        id=ident(name),
    )
    if name != "layer":
        return html.Div(slider)
    play = html.Button("▶", type="button", id="play", title="play through the layers (space)")
    return html.Div([slider, play, html.Output(id="layer-now")], className="layers")


def arm_list(runs: Sequence[ExploredRun], query: Query) -> dcc.Checklist:
    """Return the list of arms with the colours that all figures use."""
    arms = list(dict.fromkeys(arm for run in runs for arm in known_arms(run)))
    colours = style.arm_colours(arms)
    offered = [
        {
            "label": html.Span(
                [html.Span(className="dot", style={"background": colours[arm]}), arm], className="arm-name"
            ),
            "value": arm,
        }
        for arm in sorted(arms, key=style.arm_order)
    ]
    return dcc.Checklist(offered, list(query.arm), id=ident("arm"))


def options(names: dict[str, str]) -> list[dict[str, str]]:
    """Values and names as Dash wants them."""
    return [{"value": value, "label": name} for value, name in names.items()]
