"""Light and dark themes: the same figure with black and white exchanged."""

from typing import Any

import plotly.graph_objects as go

from regap.figures.drawing import style

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
