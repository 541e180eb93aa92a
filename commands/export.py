"""`regap pack` and `regap inspect-logs`: export a finished run for other tools."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import Run, screen, takes


def pack(
    run_folder: Run,
    out: Annotated[Path, typer.Option(help="Folder for the pack: a new one, or that of a pack to replace.")],
    method: Annotated[
        str,
        typer.Option(
            help="Correction to pack: fixed (one strength for all), regap (gated), or one that `regap image-tokens` "
            "chose, such as one-pass."
        ),
    ] = "regap",
    even_if_worse: Annotated[
        bool,
        typer.Option("--even-if-worse", help="Pack the correction even if it raises attack success."),
    ] = False,
) -> None:
    """Pack a finished run's correction: vectors, gate, model identity and measured outcomes, without the model."""
    from regap.analyses.runs.pack import pack_of
    from regap.interventions.packs.pack import check_folder, write_pack

    check_folder(out)
    written = write_pack(pack_of(run_folder, method, even_if_worse=even_if_worse), out)
    screen.print(
        f"pack: {escape(str(written))}; README.md describes its model, its effect and its use", soft_wrap=True
    )
    screen.print("use it on the plain Hugging Face model:", soft_wrap=True)
    screen.print(
        f"  with regap.protected(model, {escape(repr(str(written)))}): model.generate(...)",
        soft_wrap=True,
    )


Logs = Annotated[Path | None, typer.Option(help="Folder for the logs; RUN/inspect by default.")]


@takes("seed")
def inspect_logs(run_folder: Run, out: Logs = None, **flags: Any) -> None:
    """Write a run's answers and verdicts as inspect_ai logs, for `inspect view`; needs the extra `inspect`."""
    from regap.analyses.adapters.inspect_logs import write_inspect_logs

    written = write_inspect_logs(run_folder, out, flags["seed"] or 0)
    folder = escape(str(written[0].parent))
    screen.print(
        f"{len(written)} logs in {folder}; see them with: inspect view --log-dir {folder}", soft_wrap=True
    )
