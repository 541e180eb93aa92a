"""`regap figures`, `regap report` and `regap explore`: draw a run from its tables."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import Run, check_run, progress, screen, takes


def figures(
    run_folders: Annotated[list[Path], typer.Argument(help="Run folder; several are drawn in one figure.")],
    only: Annotated[list[str] | None, typer.Option(help="Draw only this figure; repeat for more.")] = None,
    layer: Annotated[int | None, typer.Option(min=0, help="Draw this layer, 0-based.")] = None,
    measure: Annotated[str | None, typer.Option(help="Draw this measure, such as d_prime or auroc.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Draw only this arm; repeat for more.")] = None,
    formats: Annotated[
        str | None, typer.Option("--format", help="Print as pdf, svg or png; separate several with commas.")
    ] = None,
    style: Annotated[str | None, typer.Option(help="Print style: paper (the default) or slides.")] = None,
    width: Annotated[float | None, typer.Option(help="Width of printed figures in millimetres.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for printed figures; RUN/figures/STYLE by default.")
    ] = None,
) -> None:
    """Draw the figures of a run again from its tables, for the browser or, with --format, for print.

    Printed figures come with text captions and with tables in LaTeX and Markdown.
    """
    from regap.figures.gallery import FigureOptions, write_figures
    from regap.figures.print.publishing import publish, publish_together

    for run_folder in run_folders:
        check_run(run_folder)
    kinds, look = (formats or "pdf").split(","), style or "paper"
    options = FigureOptions(layer, measure, tuple(arm or ()))
    if len(run_folders) == 1 and not formats and (style or out or width):
        raise ValueError("--style, --width and --out are for printed figures; add --format pdf, svg or png")
    if len(run_folders) > 1:
        if out is None or only or width or options.given:
            raise ValueError(
                f"{len(run_folders)} runs are drawn in one figure: name its folder with --out, and leave out --only, "
                "--layer, --measure, --arm and --width"
            )
        written = publish_together(run_folders, kinds, look, out)
    elif formats:
        written = publish(run_folders[0], kinds, look, only or (), out, options=options, width=width)
    else:
        written = write_figures(run_folders[0], only or (), options)
    for path in written:
        screen.print(escape(str(path)))


def report(run_folder: Run) -> None:
    """Write report.html of a run again, as one file that works offline."""
    from regap.figures.report import write_report

    check_run(run_folder)
    screen.print(escape(str(write_report(run_folder))))


@takes("model", "pairs")
def explore(
    run_folder: Run,
    other: Annotated[Path | None, typer.Argument(help="Second run folder, shown beside the first.")] = None,
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1; 0 takes any free one.", min=0, max=65535)
    ] = 8050,
    browser: Annotated[bool, typer.Option(help="Open the page in a web browser.")] = True,
    **flags: Any,
) -> None:
    """Explore a run in the browser, layer by layer and item by item; with --model, also intervene live."""
    from regap.figures.explorer.app import HOST, application, free_port, serve
    from regap.figures.explorer.run.explored import ExploredRun

    runs = [ExploredRun(folder.resolve()) for folder in (run_folder, other) if folder]
    port = free_port(port)
    live = None
    if flags["pairs"] and not flags["model"]:
        raise ValueError("--pairs needs --model, which intervenes live; add it, or leave --pairs out")
    if flags["model"]:
        from regap.analyses.live.model import LiveModel

        with progress() as track:
            live = LiveModel.of_run(runs[0].folder, flags["model"], track, flags["pairs"])
    screen.print(f"exploring {escape(', '.join(str(run.folder) for run in runs))}", soft_wrap=True)
    screen.print(f"http://{HOST}:{port}/   (Ctrl-C stops)")
    serve(application(runs, live), port, browser)
