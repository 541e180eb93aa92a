"""Adapt figures for print, and export them by kaleido and an installed Chrome or Chromium."""

import math
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import wrap
from types import ModuleType
from typing import Any

import plotly.graph_objects as go

from regap.figures.drawing import style

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FORMATS = (".pdf", ".svg", ".png")


@dataclass(frozen=True, eq=False)
class Page:
    """A figure and its file type; lengths in pixels, 96 per inch."""

    figure: go.Figure
    width: int
    height: int
    kind: str
    """One of FORMATS."""


def export_all(pages: Sequence[Page], png_scale: float = 2) -> list[bytes]:
    """Return the content of each page's file, all made by one browser; png_scale: dots per pixel in PNG.

    Raises RuntimeError if kaleido or a browser is not installed.
    """
    kaleido, browser = kaleido_or_advice(), browser_or_advice()
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{place}{page.kind}" for place, page in enumerate(pages)]
        asked = [
            {"fig": page.figure, "path": path, "opts": _options(page, png_scale)}
            for path, page in zip(paths, pages, strict=True)
        ]
        if asked:
            kaleido.write_fig_from_object_sync(asked, kopts={"path": browser})
        return [path.read_bytes() for path in paths]


def _options(page: Page, png_scale: float) -> dict[str, object]:
    scale = png_scale if page.kind == ".png" else 1
    return {"format": page.kind[1:], "width": page.width, "height": page.height, "scale": scale}


def on_paper(figure: go.Figure) -> go.Figure:
    """Return a copy of the figure without menus and sliders."""
    copied = go.Figure(figure)
    copied.layout.updatemenus, copied.layout.sliders = (), ()
    return copied


def kaleido_or_advice() -> ModuleType:
    """Return the kaleido module; raises RuntimeError, with the install command, if it is missing."""
    try:
        import kaleido
    except ImportError:
        raise RuntimeError("static export needs kaleido: pip install 'regap[static]'") from None
    return kaleido


def browser_or_advice() -> str:
    """Return the path of a Chrome or Chromium, BROWSER_PATH first; raises RuntimeError if there is none."""
    found = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        raise RuntimeError(
            f"static export needs a Chrome or Chromium, and none of {', '.join(BROWSERS)} is on the path; "
            "install one, or name it in BROWSER_PATH. The HTML figures need none"
        )
    return found


PIXELS_PER_MM = 96 / 25.4
"""CSS pixels per millimetre."""
PIXELS_PER_POINT = 96 / 72


@dataclass(frozen=True)
class PrintStyle:
    """Lengths in millimetres, letters and lines in points."""

    name: str
    one_column: float
    """Width of a figure with one column of panels."""
    two_columns: float
    """Width of a figure with several columns of panels."""
    panel_height: float
    row_height: float
    """Height of one name on an axis of names."""
    letters: float
    """Size of titles of axes and panels."""
    small_letters: float
    """Size of ticks, legends and notes."""
    lines: float
    """Width of curves; grid lines and intervals are thinner."""
    markers: float

    def __post_init__(self) -> None:
        if min(self.one_column, self.two_columns, self.panel_height, self.small_letters, self.lines) <= 0:
            raise ValueError(
                f"style {self.name!r} has a length that is not positive; give millimetres and points"
            )

    @property
    def large(self) -> float:
        """Size of titles in pixels."""
        return self.letters * PIXELS_PER_POINT

    @property
    def small(self) -> float:
        """Size of ticks, legends and notes in pixels."""
        return self.small_letters * PIXELS_PER_POINT


PRINT_STYLES = {
    "paper": PrintStyle("paper", 85.0, 174.0, 44.0, 4.6, 8.0, 7.0, 1.1, 3.2),
    "slides": PrintStyle("slides", 170.0, 254.0, 84.0, 8.0, 15.0, 13.0, 2.2, 6.5),
}
"""paper: the columns of most journals and conferences; slides: a page 10 inches wide, with large letters."""


def print_style(name: str, width: int | float | None = None) -> PrintStyle:
    """Return the style of this name, with figures `width` millimetres wide if given.

    Raises ValueError for an unknown name, and for a width outside 30 to 1000.
    """
    if name not in PRINT_STYLES:
        raise ValueError(f"style={name!r} is not known; choose one of {', '.join(PRINT_STYLES)}")
    if width is None:
        return PRINT_STYLES[name]
    if not 30 <= width <= 1000:
        raise ValueError(
            f"width={width:g} is not between 30 and 1000; give the width of a figure in millimetres"
        )
    return replace(PRINT_STYLES[name], one_column=float(width), two_columns=float(width))


MARK = 4.7
"""Width of a legend symbol with its spacing, in heights of small letters."""
LEGEND_ROW = 2.05
"""Height of a row of the legend, in heights of small letters."""
LETTER = 0.5
"""Average width of a letter, in heights of letters."""


@dataclass(frozen=True, eq=False)
class Printed:
    """A figure in its final size."""

    figure: go.Figure
    width: int
    """In CSS pixels, 96 per inch."""
    height: int
    shown: str
    """The printed choice of each menu; empty without menus."""


@dataclass(frozen=True)
class Panel:
    """The place of one panel, in shares of the plot."""

    left: float
    top: float


def printed(figure: go.Figure, print_style: PrintStyle) -> Printed:
    """Return the figure for print: without title and menus, with the legend above and letters on its panels.

    The width is that of one column, or of two if panels are side by side. Menus keep their first choice; traces that
    are hidden at first are left out.
    """
    shown = first_choices(figure)
    copied = on_paper(figure)
    copied.data = [trace for trace in copied.data if trace.visible != "legendonly"]
    copied.update_layout(title_text="", autosize=False)
    found = panels(copied)
    columns, rows = len({panel.left for panel in found}), len({panel.top for panel in found})
    width = _pixels(print_style.two_columns if columns > 1 else print_style.one_column)
    _letters(copied, print_style)
    _lines(copied, print_style)
    plot_height = _plot_height(copied, rows, print_style)
    _break_titles(copied, 0.85 * width / columns, plot_height / rows, print_style)
    legends = _legends(copied, print_style, width)
    titles = _pixels_of_points(1.4 * print_style.letters) * _title_lines(copied)
    top = math.ceil(legends + titles + print_style.small)
    bottom = math.ceil(_pixels_of_points(4.2 * print_style.letters))
    height = math.ceil(top + bottom + plot_height)
    copied.update_layout(
        width=width, height=height, margin={"l": 6, "r": 10, "t": top, "b": bottom, "pad": 0}
    )
    _hang_legends(copied, print_style, height, width)
    if len(found) > 1:
        _letter_panels(copied, found, print_style)
    return Printed(copied, width, height, shown)


def first_choices(figure: go.Figure) -> str:
    """Return the label of the first choice of each menu and slider."""
    menus = [menu for menu in figure.layout.updatemenus if menu.type != "buttons"]
    labels = [menu.buttons[menu.active or 0].label for menu in menus]
    for slider in figure.layout.sliders:
        prefix = (slider.currentvalue.prefix or "").strip()
        labels.append(f"{prefix} {slider.steps[slider.active or 0].label}".strip())
    return "; ".join(labels)


def panels(figure: go.Figure) -> list[Panel]:
    """The panels, row by row from the top, each from left to right."""
    found = set()
    for trace in figure.data:
        x, y = getattr(trace, "xaxis", None) or "x", getattr(trace, "yaxis", None) or "y"
        across, up = figure.layout[_axis(x)].domain, figure.layout[_axis(y)].domain
        found.add(Panel(round(float((across or (0, 1))[0]), 3), round(float((up or (0, 1))[1]), 3)))
    return sorted(found, key=lambda panel: (-panel.top, panel.left))


def _axis(name: str) -> str:
    return f"{name[0]}axis{name[1:]}"


def _pixels(millimetres: float) -> int:
    return round(millimetres * PIXELS_PER_MM)


def _pixels_of_points(points: float) -> float:
    return points * PIXELS_PER_POINT


def _letters(figure: go.Figure, print_style: PrintStyle) -> None:
    """Set one letter size for titles of axes and panels, and a smaller one for all other text."""
    large, small = print_style.large, print_style.small
    figure.update_layout(font={"size": small, "family": style.FONT})
    standoff = {"standoff": small * 0.6, "font": {"size": large}}
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(title=standoff, tickfont={"size": small}, ticklen=small * 0.35)
        update(linecolor=style.INK, tickcolor=style.INK, linewidth=0.8, tickwidth=0.8, gridwidth=0.6)
    for note in figure.layout.annotations:
        note.font = {**note.font.to_plotly_json(), "size": large if _names_a_panel(note) else small}
        note.text = re.sub(r"font-size:\s*[\d.]+px", f"font-size:{small:.1f}px", note.text or "")
    for trace in figure.data:
        if "textfont" in trace:
            trace.textfont = {"size": small}
        if trace.type == "heatmap" and trace.colorbar.title.text:
            lines = [part for line in trace.colorbar.title.text.split("<br>") for part in wrap(line, 34)]
            trace.colorbar.title.update(text="<br>".join(lines), font={"size": small})


def _lines(figure: go.Figure, print_style: PrintStyle) -> None:
    width = _pixels_of_points(print_style.lines)
    for trace in figure.data:
        _thin(trace, width, print_style)
    for shape in figure.layout.shapes:
        shape.line.width = 0.8 * width


def _thin(trace: Any, width: float, print_style: PrintStyle) -> None:
    if "line" in trace and trace.line.width:
        trace.line.width = width
    for bars in ("error_x", "error_y"):
        if bars in trace and trace[bars].array is not None:
            trace[bars].update(thickness=0.7 * width, width=_pixels_of_points(0.45 * print_style.markers))
    if trace.type in ("scatter", "scattergl") and "markers" in (trace.mode or ""):
        many = trace.x is not None and len(trace.x) > 60
        trace.marker.size = _pixels_of_points(print_style.markers) * (0.75 if many else 1)
        if trace.marker.line.width:
            trace.marker.line.width = 0.7 * width


def _entries(figure: go.Figure, legend: str) -> list[str]:
    """The names in a legend, without markup."""
    shown = [
        trace
        for trace in figure.data
        if trace.showlegend is not False
        and trace.visible not in (False, "legendonly")
        and (getattr(trace, "legend", None) or "legend") == legend
    ]
    names = list(dict.fromkeys((trace.legendgroup, trace.name) for trace in shown))
    return [re.sub(r"<[^>]*>", "", str(name)) for _, name in names if name]


def _legend_names(figure: go.Figure) -> list[str]:
    if figure.layout.showlegend is False:
        return []
    names = list(dict.fromkeys(getattr(trace, "legend", None) or "legend" for trace in figure.data))
    return [name for name in sorted(names) if len(_entries(figure, name)) > 1]


def _legend_height(figure: go.Figure, legend: str, print_style: PrintStyle, width: int) -> float:
    """Return the approximate height of a horizontal legend."""
    small = print_style.small
    title = figure.layout[legend].title.text or ""
    room = width - (len(title) * LETTER + 2) * small
    rows, used = 1, 0.0
    for name in _entries(figure, legend):
        entry = max((len(name) * LETTER + MARK) * small, 30 + len(name) * LETTER * small)
        rows, used = (rows, used + entry) if used + entry <= room else (rows + 1, entry)
    return rows * LEGEND_ROW * small


def _legends(figure: go.Figure, print_style: PrintStyle, width: int) -> float:
    """Show the legends that are needed, and return their total height."""
    names = _legend_names(figure)
    figure.update_layout(showlegend=bool(names))
    return sum((_legend_height(figure, name, print_style, width) for name in names), 0.0)


def _hang_legends(figure: go.Figure, print_style: PrintStyle, height: int, width: int) -> None:
    """Put the legends one below the other at the top of the figure."""
    small, below = print_style.small, 0.0
    for name in _legend_names(figure):
        place = {"orientation": "h", "xref": "container", "x": 0.005, "xanchor": "left"}
        place |= {"yref": "container", "y": 1 - below / height, "yanchor": "top", "itemsizing": "trace"}
        place |= {"font": {"size": small}, "itemwidth": 30, "tracegroupgap": 0, "bgcolor": "rgba(0,0,0,0)"}
        title = figure.layout[name].title.text
        figure.update_layout(
            {name: {**place, "title": {"text": title, "font": {"size": small}, "side": "left"}}}
        )
        below += _legend_height(figure, name, print_style, width)


def _names_a_panel(note: Any) -> bool:
    return (note.yref, note.yanchor, note.xanchor) == ("paper", "bottom", "center")


def _break_titles(figure: go.Figure, across: float, up: float, print_style: PrintStyle) -> None:
    """Put text in brackets on its own line in titles that are longer than their panel."""
    letter = LETTER * print_style.large
    titles = [(axis.title, across) for axis in figure.select_xaxes()]
    titles += [(axis.title, up) for axis in figure.select_yaxes()]
    titles += [(note, across) for note in figure.layout.annotations if _names_a_panel(note)]
    for title, room in titles:
        text = title.text or ""
        if len(text) * letter > room and "<br>" not in text:
            title.text = text.replace(" (", "<br>(", 1)


def _title_lines(figure: go.Figure) -> int:
    """Return the number of lines of panel titles; 0 if there are none."""
    titles = [note.text or "" for note in figure.layout.annotations if _names_a_panel(note)]
    return max((1 + title.count("<br>") for title in titles), default=0)


def _plot_height(figure: go.Figure, rows: int, print_style: PrintStyle) -> float:
    """Return the height of all panels: a fixed height per row, or more if names on an axis need it."""
    names = {
        str(name)
        for trace in figure.data
        if trace.visible is not False and trace.y is not None
        for name in trace.y
        if isinstance(name, str)
    }
    return float(max(_pixels(print_style.panel_height) * rows, _pixels(print_style.row_height) * len(names)))


def _letter_panels(figure: go.Figure, found: list[Panel], print_style: PrintStyle) -> None:
    large = print_style.large
    for place, panel in enumerate(found):
        figure.add_annotation(
            text=f"<b>{chr(ord('a') + place)}</b>",
            xref="paper",
            yref="paper",
            x=panel.left,
            y=panel.top,
            xanchor="right",
            yanchor="bottom",
            xshift=-1.5 * large,
            yshift=0.1 * large,
            showarrow=False,
            font={"size": 1.1 * large},
        )
