"""The style of all figures: one light template, and one colour per arm, condition, vector and model."""

import html
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from regap.figures.drawing import style

# Okabe and Ito's colours, for any colour vision, without yellow, which is hard to see on white.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#7A7A7A"
# Two more of Tol's muted colours, for arms alone.
WINE, OLIVE = "#882255", "#999933"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)
INK, FAINT, RULE = "#222222", "#666666", "#E4E4E4"
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
HEIGHT = 560
SHARES = ".1~%"
"""Ticks of an axis of shares that may cover a few points only: 0.5%, 1%, 1.5%, never twice the same."""

ARMS = {
    "text": ("text", BLACK),
    "typographic": ("typographic", VERMILLION),
    "picture": ("picture", BLUE),
    "picture_typographic": ("picture + typographic", PURPLE),
    "speech": ("speech", WINE),
    "speech_noise": ("speech in noise", OLIVE),
    "caption": ("caption", GREEN),
    "blank": ("blank image", SKY),
    "noise": ("noise image", ORANGE),
}
CONDITIONS = {
    "none": ("no correction", GREY),
    "baseline": ("no correction", GREY),
    "fixed": ("fixed strength", BLUE),
    "regap": ("ReGap", VERMILLION),
}
WAYS = {
    "single_pass": ("ReGap, one pass", ORANGE),
    "gate_rho": ("gate on ρ only", PURPLE),
    "gate_z_before": ("gate on plain z", GREEN),
    "gate_z_after": ("gate on z after a probe", SKY),
    "fixed_chosen": ("fixed strength, chosen", INK),
    "probe_image": ("ceiling: probe fitted on images", BLACK),
}
"""Methods of correction besides the conditions."""
VECTORS = {
    "D": ("drift D", VERMILLION),
    "D_along": ("D along r", ORANGE),
    "D_across": ("D across r", BLUE),
    "D_harmful": ("D of harmful pairs", BLACK),
    "refusal": ("refusal direction r", GREEN),
    "random": ("random, equal norm", GREY),
    "shuffled": ("shuffled pairs", PURPLE),
}
LABELS = {"harmful": ("harmful", VERMILLION), "harmless": ("harmless", BLUE)}
MEASURES = {
    "gap": "gap (residual-stream units)",
    "d_prime": "d′ (pooled standard deviations)",
    "auroc": "AUROC (chance 0.5)",
    "usable": "usable separation (balanced accuracy)",
    "log_odds": "log-odds of a refusal, first token (nats)",
    "first_token": "refusals by first token (share)",
    "z": "refusal coordinate z, last block (units)",
    "attack_success": "attack success (share of harmful)",
    "over_refusal": "over-refusal (share of harmless)",
    "contrast_over_refusal": "over-refusal of contrasts (share of those that look harmful)",
    "refusal": "refusal (share of harmful)",
    "utility": "utility (share of harmless)",
    "degenerate_harmless": "degenerate (share of harmless)",
    "degenerate_harmful": "degenerate (share of harmful)",
    "misread_harmless": "misread (share of harmless)",
    "misread_harmful": "misread (share of harmful)",
    "not_judged": "not judged (share)",
}
DIRECTIONS = {
    "refusal": "refusal direction r",
    "probe_text": "probe fitted on text",
    "probe_image": "probe fitted on images",
}
SIGNALS = {
    "rho": "self-rectification ρ",
    "z_before": "z before correction",
    "z_after": "z after correction",
    "probe_text": "probe fitted on text",
    "probe_image": "probe fitted on images",
}


def shown(text: object) -> str:
    """Return text escaped for a figure, since plotly interprets some HTML tags."""
    return html.escape(str(text))


def short(measure: str) -> str:
    """A measure's name without its unit."""
    return MEASURES.get(measure, shown(measure)).split(" (")[0]


def unit(measure: str) -> str:
    """Return the unit of a measure; "share" for every share."""
    told = MEASURES[measure].partition(" (")[2].rstrip(")")
    return "share" if told.startswith("share") else told


def arm_label(arm: str) -> str:
    """An arm in words; a variant keeps its own name in brackets."""
    kind, _, variant = arm.partition("-")
    label = ARMS[kind][0] if kind in ARMS else shown(kind)
    return f"{label} ({shown(variant)})" if variant else label


def condition_label(condition: str) -> str:
    """A condition in words."""
    return CONDITIONS.get(condition, (shown(condition),))[0]


def arm_colours(arms: Iterable[str]) -> dict[str, str]:
    """Return one colour per arm: fixed for known arms, with paler shades for their variants."""
    arms = sorted(set(arms), key=arm_order)
    unknown = [kind for kind in dict.fromkeys(arm.partition("-")[0] for arm in arms) if kind not in ARMS]
    colours, variants = {}, dict.fromkeys((arm.partition("-")[0] for arm in arms), 0)
    for arm in arms:
        kind, _, variant = arm.partition("-")
        colour = ARMS[kind][1] if kind in ARMS else CYCLE[unknown.index(kind) % len(CYCLE)]
        variants[kind] += bool(variant)
        colours[arm] = paler(colour, min(0.22 * variants[kind], 0.66)) if variant else colour
    return colours


def arm_order(arm: str) -> tuple[int, str]:
    """Return the sort key of an arm: known arms in the order of ARMS, each before its variants; unknown arms last."""
    kinds = list(ARMS)
    kind = arm.partition("-")[0]
    return (kinds.index(kind) if kind in kinds else len(kinds), arm)


def ordered(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return each name once, known names first in their order, then the others alphabetically."""
    order = {name: place for place, name in enumerate(known)}
    return sorted(set(names), key=lambda name: (order.get(name, len(order)), name))


def looks(names: Iterable[str], known: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Return (label, colour) of each name, in order: as in `known`, else the name itself and an unused colour."""
    names = ordered(names, known)
    free = [colour for colour in CYCLE if colour not in {known[name][1] for name in names if name in known}]
    others = [name for name in names if name not in known]
    chosen = {name: (shown(name), free[place % len(free)]) for place, name in enumerate(others)}
    return {name: known.get(name) or chosen[name] for name in names}


WORDS: Mapping[str, Callable[[Any], str]] = {
    "model": shown,
    "arm": arm_label,
    "condition": condition_label,
    "direction": lambda name: DIRECTIONS[name],
    "vector": lambda name: VECTORS[name][0],
    "measure": short,
    "method": shown,
    "layer": lambda layer: f"layer {layer}",
}
"""How the values of a column are displayed."""
ORDERS: Mapping[str, Mapping[str, Any]] = {
    "arm": ARMS,
    "condition": CONDITIONS,
    "direction": DIRECTIONS,
    "vector": VECTORS,
    "measure": MEASURES,
}
"""The order of a column's values; others follow in alphabetical or numeric order."""


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green, blue of a #RRGGBB colour."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def paler(colour: str, amount: float) -> str:
    """The colour mixed with this share of white."""
    return "#" + "".join(f"{round(part + (255 - part) * amount):02X}" for part in rgb(colour))


def clear(colour: str, opacity: float) -> str:
    """Return the colour with this opacity."""
    return f"rgba({', '.join(map(str, rgb(colour)))}, {opacity:g})"


def layer_steps(layers: Iterable[int]) -> int:
    """Return the tick distance on an axis of layers, in whole layers, for about a dozen ticks."""
    layers = list(layers)
    return max(1, round((max(layers) - min(layers)) / 12))


def template() -> go.layout.Template:
    """Return the common template: white background, thin grid, titles at the left, legend beside the plot."""
    axis = {
        "gridcolor": RULE,
        "linecolor": "#B8B8B8",
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": "#B8B8B8",
        "title": {"font": {"size": 13}, "standoff": 8},
        "automargin": True,
    }
    layout = go.Layout(
        font={"family": FONT, "size": 12.5, "color": INK},
        title={
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 0.95,
            "yanchor": "top",
            "font": {"size": 18},
        },
        paper_bgcolor="white",
        plot_bgcolor="white",
        colorway=list(CYCLE),
        xaxis=axis,
        yaxis=axis,
        hoverlabel={"font": {"family": FONT, "size": 12}, "align": "left"},
        legend={"x": 1.02, "xanchor": "left", "y": 1, "yanchor": "top", "font": {"size": 12}},
        margin={"l": 72, "r": 24, "t": 106, "b": 60},
    )
    return go.layout.Template(layout=layout)


def row_of_panels(titles: Iterable[str], spacing: float = 0.05) -> go.Figure:
    """Return empty panels side by side with these titles and one y axis for all."""
    titles = list(titles)
    return make_subplots(
        rows=1, cols=len(titles), column_titles=titles, shared_yaxes=True, horizontal_spacing=spacing
    )


def dress(figure: go.Figure, title: str, subtitle: str = "") -> go.Figure:
    """Give the figure its title, subtitle and common style."""
    below = f"<br><span style='font-size:13px;color:{FAINT}'>{subtitle}</span>" if subtitle else ""
    figure.update_layout(template=template(), height=HEIGHT, title_text=f"<b>{title}</b>{below}")
    figure.update_annotations(selector={"showarrow": False, "font": {"size": 16}}, font={"size": 13})
    return figure


INTERVAL = "Bands and bars are 95 % intervals from a bootstrap that resamples whole clusters of pairs."


def counted(numbers: pd.Series, what: str) -> str:
    """Return the number of observations behind the estimates, as a number or a range."""
    low, high = int(numbers.min()), int(numbers.max())
    return f"n = {low:,} {what}" if low == high else f"n = {low:,} to {high:,} {what}"


def caption_of(*sentences: str) -> str:
    """Return the sentences as one caption, without empty ones."""
    return " ".join(sentence for sentence in sentences if sentence)


def criteria_of(claims: pd.DataFrame) -> str:
    """Return the versions of the criteria by which the claims in a table were judged."""
    versions = ", ".join(f"{row.claim} {row.version}" for row in claims.itertuples())
    return f"Each criterion was written before any test pair was answered under it; versions: {versions}."


DARK = {
    "paper": "#161719",
    "ink": "#E6E6E6",
    "faint": "#A5A5A5",
    "rule": "#34373B",
    "line": "#55595E",
}
SWAPPED = {
    style.BLACK: "#F2F2F2",
    "rgba(0, 0, 0,": "rgba(242, 242, 242,",
    style.INK: DARK["ink"],
    style.FAINT: DARK["faint"],
    "rgba(255, 255, 255, 0.8)": "rgba(22, 23, 25, 0.8)",
    style.RULE: DARK["rule"],
    "#B8B8B8": DARK["line"],
    "white": DARK["paper"],
}
COLOURED = ("color", "fillcolor", "bgcolor", "bordercolor", "gridcolor", "linecolor", "tickcolor")


def on_paper(figure: go.Figure, theme: str) -> go.Figure:
    """Return the figure, recoloured if the theme is dark; data and texts stay the same."""
    if theme != "dark":
        return figure
    for trace in figure.data:
        recolour(trace)
    for part in (*figure.layout.shapes, *figure.layout.annotations, *figure.layout.updatemenus):
        recolour(part)
    for note in figure.layout.annotations:
        note.text = swapped(note.text)
    axis = {"gridcolor": DARK["rule"], "linecolor": DARK["line"], "tickcolor": DARK["line"]}
    figure.update_xaxes(axis)
    figure.update_yaxes(axis)
    figure.update_layout(
        paper_bgcolor=DARK["paper"],
        plot_bgcolor=DARK["paper"],
        font_color=DARK["ink"],
        title_text=swapped(figure.layout.title.text),
        hoverlabel={"bgcolor": DARK["rule"], "font_color": DARK["ink"]},
    )
    return figure


def recolour(part: Any) -> None:
    """Exchange black and white in the colours of a trace, shape or annotation, and of its parts."""
    for name in ("line", "marker", "font", "error_x", "error_y"):
        if name in part and part[name] is not None:
            recolour(part[name])
    for name in COLOURED:
        if name in part and isinstance(part[name], str):
            part[name] = swapped(part[name])


def swapped(text: Any) -> Any:
    """Return the text with light-theme colours replaced by dark-theme ones."""
    if not isinstance(text, str):
        return text
    for light, dark in SWAPPED.items():
        text = dark if text == light else text.replace(light, dark) if light != "white" else text
    return text


def dressed(figure: go.Figure) -> go.Figure:
    """Return the figure in the common style for a page with its own titles: no title, and a small margin."""
    figure.update_layout(
        template=style.template(),
        title_text="",
        margin={"l": 60, "r": 16, "t": 24, "b": 48},
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
    )
    return figure
