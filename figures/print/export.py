"""Static copies of figures for papers, by kaleido and an installed Chrome or Chromium."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import plotly.graph_objects as go

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
