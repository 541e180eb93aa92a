"""`regap figures` and `regap report`: from a run folder's tables to what is looked at."""

from typing import Annotated

import typer
from rich.markup import escape

from regap.analyses.commands.options import Run, screen


def figures(
    run_folder: Run, only: Annotated[str | None, typer.Option(help="Draw this figure alone.")] = None
) -> None:
    """Draw every figure of a run again, from its tables alone."""
    from regap.figures.gallery import write_figures

    for path in write_figures(run_folder, only=only) if only else write_figures(run_folder):
        screen.print(escape(str(path)))


def report(run_folder: Run) -> None:
    """Write report.html of a run again: one file that opens offline."""
    from regap.figures.report import write_report

    screen.print(escape(str(write_report(run_folder))))
