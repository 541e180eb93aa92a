"""Static copies of figures for papers, through kaleido and a Chrome or Chromium that is already there."""

import os
import shutil
from pathlib import Path
from types import ModuleType

import plotly.graph_objects as go

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FORMATS = (".pdf", ".svg", ".png")


def export(figure: go.Figure, path: Path | str, *, width: int = 1000, height: int = 560) -> Path:
    """Writes the figure as it first appears, without its menus, to a .pdf, .svg or .png; in pixels, PNG at twice that.

    Raises ValueError for another ending, RuntimeError when kaleido or a browser is not installed.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"path={str(path)!r}: the ending says the format, one of {FORMATS}")
    kaleido = kaleido_or_advice()
    path.parent.mkdir(parents=True, exist_ok=True)
    kaleido.write_fig_sync(
        on_paper(figure),
        path=path,
        opts={
            "format": path.suffix[1:],
            "width": width,
            "height": height,
            "scale": 2 if path.suffix == ".png" else 1,
        },
        kopts={"path": browser_or_advice()},
    )
    return path


def on_paper(figure: go.Figure) -> go.Figure:
    """The figure without menus and sliders: nobody can click on paper. The one given keeps its own."""
    copied = go.Figure(figure)
    copied.layout.updatemenus, copied.layout.sliders = (), ()
    return copied


def kaleido_or_advice() -> ModuleType:
    """The kaleido module; RuntimeError says how to get it."""
    try:
        import kaleido
    except ImportError:
        raise RuntimeError("static export needs kaleido: pip install 'regap[static]'") from None
    return kaleido


def browser_or_advice() -> str:
    """The path of a Chrome or Chromium; BROWSER_PATH comes first. RuntimeError says what to install."""
    found = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        raise RuntimeError(
            f"static export needs a Chrome or Chromium, and none of {', '.join(BROWSERS)} is on the path; "
            "install one, or name it in BROWSER_PATH. The HTML figures need none"
        )
    return found
