"""`regap explore`: a local web application on one run folder, or on two side by side."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import Run, progress, screen, takes


@takes("model", "pairs")
def explore(
    run_folder: Run,
    other: Annotated[Path | None, typer.Argument(help="A second run folder, shown beside the first.")] = None,
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1; 0 takes any free one.", min=0, max=65535)
    ] = 8050,
    browser: Annotated[bool, typer.Option(help="Open the page in a web browser.")] = True,
    **flags: Any,
) -> None:
    """Look at a run in the browser, layer by layer and item by item; with --model, intervene live."""
    from regap.figures.explorer.app import application
    from regap.figures.explorer.run.explored import ExploredRun
    from regap.figures.explorer.server import HOST, free_port, serve

    runs = [ExploredRun(folder.resolve()) for folder in (run_folder, other) if folder]
    port = free_port(port)
    live = None
    if flags["pairs"] and not flags["model"]:
        raise ValueError("--pairs goes with --model, which intervenes live; add it, or leave --pairs out")
    if flags["model"]:
        from regap.analyses.live.model import LiveModel

        with progress() as track:
            live = LiveModel.of_run(runs[0].folder, flags["model"], track, flags["pairs"])
    screen.print(f"exploring {escape(', '.join(str(run.folder) for run in runs))}", soft_wrap=True)
    screen.print(f"http://{HOST}:{port}/   (Ctrl-C stops)")
    serve(application(runs, live), port, browser)
