"""The controls of the views, with the choices that the runs offer."""

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from regap.figures.drawing import style
from regap.figures.drawing.menus import SEPARABILITY
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.run.selection import known_arms
from regap.figures.explorer.views.doses import MOVING
from regap.figures.explorer.views.drawn import HEATS
from regap.figures.explorer.views.view import aria
from regap.figures.gallery import ENTRIES
from regap.figures.opened_run import in_words

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
        "request": "request",
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
    return dcc.Dropdown(
        options(choices(name, runs)),
        getattr(query, field) or "any",
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
