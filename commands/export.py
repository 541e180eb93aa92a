"""`regap inspect-logs`: a run's answers and verdicts for another tool's viewer."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import Run, screen, takes

Logs = Annotated[Path | None, typer.Option(help="Folder of the logs; RUN/inspect by default.")]


@takes("seed")
def inspect_logs(run_folder: Run, out: Logs = None, **flags: Any) -> None:
    """Write a run's answers and verdicts as inspect_ai logs, for `inspect view`; needs the extra `inspect`."""
    from regap.analyses.adapters.inspect_logs import write_inspect_logs

    written = write_inspect_logs(run_folder, out, flags["seed"] or 0)
    folder = escape(str(written[0].parent))
    screen.print(
        f"{len(written)} logs in {folder}; see them with: inspect view --log-dir {folder}", soft_wrap=True
    )
