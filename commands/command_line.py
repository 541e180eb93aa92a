"""The command line. Slow imports are made only when a command runs, so that --help is fast."""

import errno
import os
import sys
import warnings
from collections.abc import Collection
from typing import Annotated, Any

import typer
from rich.markup import escape

from regap import __version__
from regap.commands import (
    ablate,
    across,
    benchmarks,
    calibrate,
    compare,
    draw,
    export,
    image_tokens,
    judge,
    organism,
    power,
    run,
    transfer,
    utility,
)
from regap.commands.options import errors, screen, with_settings
from regap.errors import one_line

COMMANDS = (
    run.demo,
    run.run,
    run.capture,
    compare.compare,
    calibrate.calibrate,
    ablate.ablate,
    ablate.sweep,
    image_tokens.image_tokens,
    export.pack,
    judge.judge,
    judge.calibrate_judges,
    utility.utility,
    transfer.transfer,
    export.inspect_logs,
    draw.explore,
    draw.figures,
    draw.report,
    benchmarks.doctor,
    run.plan,
    power.power,
    across.across,
    across.beside,
    benchmarks.benchmarks,
)
ORGANISM_COMMANDS = (organism.train, organism.family, organism.assemble, organism.card, organism.pairs)


def application(asked: Collection[str]) -> typer.Typer:
    """Return the command line; settings flags are added only to the commands in `asked`, so that --help is fast."""
    app = typer.Typer(
        name="regap",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    organisms = typer.Typer(
        help="The bundled model organism and the English subject: train, build and measure them, write "
        "pairs.",
        no_args_is_help=True,
    )
    app.callback()(_top)
    for commands, to in ((COMMANDS, app), (ORGANISM_COMMANDS, organisms)):
        for command in commands:
            wanted = command.__name__.replace("_", "-") in asked
            to.command()(with_settings(command) if wanted else command)
    app.add_typer(organisms, name="organism")
    return app


def _print_version(wanted: bool) -> bool:
    if wanted:
        screen.print(f"regap {__version__}")
        raise typer.Exit
    return wanted


def _top(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Measure, explain and repair the collapse of safety geometry in vision-language models."""


def main() -> None:
    """Run the command line; an error is one line. Exit codes: 2 invalid input, 1 other errors, 130 interrupted."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Spinning threads make a busy machine many times slower. The variable is read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    warnings.showwarning = _note
    try:
        application(sys.argv[1:])()
    except SystemExit as end:
        if end.code != 130:  # typer's exit code for an interruption
            raise
        _stop("stopped; finished results are kept: run the same command again to continue", 130)
    except Exception as error:
        if debug:
            raise
        _stop(_told(error), 2 if isinstance(error, ValueError) else 1)


def _told(error: Exception) -> str:
    """Return an error in words; one of the system's own lacks a remedy."""
    if not isinstance(error, OSError) or error.errno is None or error.filename is None:
        return str(error) or type(error).__name__
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "free some space, and give the same command again" if full else "check the path"
    return f"{one_line(error.filename, 160)}: {error.strerror}; {remedy}"


def _note(message: Warning | str, *_: Any) -> None:
    errors.print(f"[yellow]note:[/] {escape(str(message))}", soft_wrap=True)


def _stop(told: str, code: int) -> None:
    message = one_line(told)
    errors.print(f"[red]error:[/] {escape(message)}" if code != 130 else escape(message), soft_wrap=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
