"""Write a run's figures and tables as files for a paper or slides, with captions and origin."""

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from regap.analyses.runs.records import RunRecords
from regap.figures.gallery import ALL, FigureOptions, draw_all
from regap.figures.plots import across_runs
from regap.figures.print.printed_tables import as_latex, as_markdown, tables_of
from regap.figures.print.printing import FORMATS, Page, Printed, export_all, print_style, printed
from regap.geometry.files import write_whole

PNG_SCALE = 300 / 96
"""300 dots per inch."""


@dataclass(frozen=True, eq=False)
class Publication:
    """One figure to be printed."""

    name: str
    drawn: Printed
    caption: str
    tables: Mapping[str, str]
    """SHA-256 of the file of each table it was drawn from."""

    @property
    def origin(self) -> str:
        """The tables that the figure was drawn from, on one line."""
        return "; ".join(f"{name} sha256:{digest}" for name, digest in self.tables.items())


def publish(
    run_folder: Path | str,
    formats: Iterable[str] = ("pdf",),
    style: str = "paper",
    only: str | Sequence[str] = (),
    out: Path | str | None = None,
    *,
    options: FigureOptions = ALL,
    width: int | float | None = None,
) -> list[Path]:
    """Write RUN/figures/<style>/: figures in each format, captions as text, and tables in LaTeX and Markdown.

    formats: pdf, svg, png (300 dots per inch). only: names or short names of figures; no tables are then written.
    width: width of each figure in millimetres, in place of the style's. A figure that cannot be drawn is left out, or
    raises ValueError if it was named. Without kaleido or a browser, captions and tables are written, then RuntimeError
    is raised.
    """
    chosen, kinds = print_style(style, width), checked_formats(formats)
    run = RunRecords.load(run_folder)
    folder = Path(out) if out else run.folder / "figures" / chosen.name
    found = []
    for one in draw_all(run, only, options):
        if one.figure is not None:
            found.append(Publication(one.name, printed(one.figure, chosen), one.caption, one.tables))
        elif only:
            raise ValueError(f"only={one.drawing.name!r}: {one.problem}")
    written = [] if only else write_tables(run, folder)
    return [*written, *write_publications(found, folder, kinds)]


def publish_together(
    run_folders: Sequence[Path | str], formats: Iterable[str], style: str, out: Path | str
) -> list[Path]:
    """Write the figure that compares several runs, with its caption, into `out`."""
    chosen, kinds = print_style(style), checked_formats(formats)
    runs = {name: RunRecords.load(path) for name, path in run_names(run_folders).items()}
    records = across_runs.named(runs)
    drawn = printed(across_runs.draw(records), chosen)
    tables = {f"{name}/separability": run.digest("separability") for name, run in runs.items()}
    found = Publication("across_runs", drawn, across_runs.caption(records), tables)
    return write_publications([found], Path(out), kinds)


def run_names(run_folders: Sequence[Path | str]) -> dict[str, Path]:
    """Return a name for each run: its folder's name, with as much of its path as makes it unique."""
    paths = [Path(folder).resolve() for folder in run_folders]
    if len(set(paths)) < len(paths):
        raise ValueError(f"run {str(run_folders[-1])!r} is named twice; name each run only once")
    parts = 1
    while len({path.parts[-parts:] for path in paths}) < len(paths):
        parts += 1
    return {"/".join(path.parts[-parts:]): path for path in paths}


def checked_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """Return the formats as file endings, each once; raises ValueError for an unknown one."""
    kinds = tuple(dict.fromkeys(f".{name.strip().lower().removeprefix('.')}" for name in formats))
    unknown = [kind for kind in kinds if kind not in FORMATS]
    if unknown or not kinds:
        known = ", ".join(kind[1:] for kind in FORMATS)
        raise ValueError(
            f"format {(unknown or ['none'])[0].removeprefix('.')!r} is not known; choose from {known}"
        )
    return kinds


def write_publications(found: Sequence[Publication], folder: Path, kinds: Sequence[str]) -> list[Path]:
    """Write captions, then the figures in each format, all with one browser."""
    written = [write_whole(folder / f"{one.name}.txt", _caption(one).encode()) for one in found]
    pages = [
        Page(one.drawn.figure, one.drawn.width, one.drawn.height, kind) for one in found for kind in kinds
    ]
    owners = [one for one in found for _ in kinds]
    for one, page, content in zip(owners, pages, export_all(pages, PNG_SCALE), strict=True):
        marked = with_origin(content, page.kind, one.origin)
        written.append(write_whole(folder / f"{one.name}{page.kind}", marked))
    return written


def write_tables(run: RunRecords, folder: Path) -> list[Path]:
    """Write each table of the run in LaTeX and in Markdown."""
    written = []
    for table in tables_of(run):
        origin = f"{table.name} sha256:{run.digest(table.name)}"
        latex, markdown = f"% {origin}\n{as_latex(table)}", f"{as_markdown(table)}\n<!-- {origin} -->\n"
        written.append(write_whole(folder / f"table_{table.name}.tex", latex.encode()))
        written.append(write_whole(folder / f"table_{table.name}.md", markdown.encode()))
    return written


def with_origin(content: bytes, kind: str, origin: str) -> bytes:
    """Return the file with its origin in its metadata, for SVG and PNG; the picture itself does not change."""
    if kind == ".svg":
        opened = content.index(b">", content.index(b"<svg")) + 1
        return content[:opened] + f"<metadata>{escape(origin)}</metadata>".encode() + content[opened:]
    if kind == ".png":
        text, stream = PngInfo(), io.BytesIO()
        text.add_text("Source", origin)
        with Image.open(io.BytesIO(content)) as image:
            image.save(stream, "PNG", pnginfo=text, dpi=(300, 300))
        return stream.getvalue()
    return content


def _caption(one: Publication) -> str:
    shown = f" Shown: {one.drawn.shown}." if one.drawn.shown else ""
    return f"{textwrap.fill(one.caption + shown, 100)}\n\nDrawn from: {one.origin}\n"
