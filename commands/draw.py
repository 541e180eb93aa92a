"""`regap figures` and `regap report`: from a run folder's tables to what is looked at."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from regap.commands.options import Run, check_run, screen


def figures(
    run_folders: Annotated[list[Path], typer.Argument(help="A run folder; several are drawn on one axis.")],
    only: Annotated[str | None, typer.Option(help="Draw this figure alone.")] = None,
    formats: Annotated[
        str | None, typer.Option("--format", help="For print: pdf, svg, png, or several with commas between.")
    ] = None,
    style: Annotated[
        str | None, typer.Option(help="Of what is printed: paper, the default, or slides.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for what is printed; RUN/figures/STYLE by default.")
    ] = None,
) -> None:
    """Draw every figure of a run again, from its tables alone: for the browser, or with --format for print.

    What is printed comes with captions as text and with tables in LaTeX and Markdown.
    """
    from regap.figures.gallery import write_figures
    from regap.figures.print.publishing import publish, publish_together

    for run_folder in run_folders:
        check_run(run_folder)
    kinds, look = (formats or "pdf").split(","), style or "paper"
    if len(run_folders) == 1 and not formats and (style or out):
        raise ValueError("--style and --out are for what is printed; add --format pdf, svg or png")
    if len(run_folders) > 1:
        if out is None or only is not None:
            raise ValueError(
                f"{len(run_folders)} runs are drawn in one figure: name its folder with --out, and leave out --only"
            )
        written = publish_together(run_folders, kinds, look, out)
    elif formats:
        written = publish(run_folders[0], kinds, look, only, out)
    else:
        written = write_figures(run_folders[0], only=only)
    for path in written:
        screen.print(escape(str(path)))


def report(run_folder: Run) -> None:
    """Write report.html of a run again: one file that opens offline."""
    from regap.figures.report import write_report

    check_run(run_folder)
    screen.print(escape(str(write_report(run_folder))))
