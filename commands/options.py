"""Flags of settings, made from the fields of RunConfig, and the consoles that commands print to."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from regap.analyses.runs.config import RunConfig
    from regap.analyses.runs.run import Run as OpenedRun
    from regap.geometry.forward.runner import Advance, Tracker

screen = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Config = Annotated[
    Path | None, typer.Option("--config", help="TOML file with settings; flags take precedence.")
]
Force = Annotated[
    bool | None,
    typer.Option("--force", help="If the folder holds another run, move it to before-N inside the folder."),
]
Subject = Literal["world", "english"]
"""The bundled organisms in their invented world, or the pretrained language model with eyes."""
Run = Annotated[Path, typer.Argument(help="Run folder.")]
Again = Annotated[
    Path | None,
    typer.Argument(help="Finished run folder, whose settings are used; leave it out to start a new run."),
]
Within = Annotated[
    str | None,
    typer.Option(
        "--within",
        metavar="HARMLESS,CONTRASTS",
        help="Choose within these shares of refused harmless images and refused contrasts, such as 0.01,0.05; "
        "contrasts of the calibration split then take part.",
    ),
]


def run_of(
    folder: Path | None,
    flags: dict[str, Any],
    track: "Tracker",
    check: "Callable[[Any], None] | None" = None,
) -> "OpenedRun":
    """Return the run in the folder, with changes by the flags; without a folder, a new run with these flags."""
    from regap.analyses.runs.run import open_run, start_run

    if folder is None:
        return start_run(settings_of(flags), track, check=check, force=bool(flags.get("force")))
    return open_run(
        folder, track, check=check, **{name: value for name, value in flags.items() if value != []}
    )


def check_run(folder: Path) -> None:
    """Raise ValueError unless the folder holds a run, so that nothing is written into other folders."""
    known = ("config.toml", "provenance.json", "summary.json", "tables")
    if not any((folder / name).exists() for name in known):
        raise ValueError(f"run folder {folder} does not hold a run; name a folder that `regap run` made")


LOADING = ("device", "dtype", "device_map", "quantize", "attention", "template", "revision", "download")
"""How a model is loaded."""
LIMITS = ("batch_size", "batch_tokens")
"""How much a model processes at once."""
RELOCATING = ("model", "pairs", "data", "device", "device_map", "download", *LIMITS)
"""Where the model and pairs of a finished run are now, and how to execute it."""
ASKING = (
    "pairs",
    "columns",
    "labels",
    "splits",
    "arm_names",
    "benchmark",
    "data",
    "harmless",
    "partial",
    "make",
    "style",
    "voice",
    "system",
    "limit",
)
"""What the model is asked."""
ANSWERING = (
    "family",
    "arms",
    "image_arm",
    "layers",
    "strengths",
    "max_new_tokens",
    "decoding",
    "false_refusals",
    "confidence",
    "judge",
    "seed",
)
"""What commands that choose corrections and judge answers take besides."""
CAPTURING = ("model", *ASKING, "out", *LOADING, *LIMITS, "config", "force")
"""The settings of every command that reads residual streams."""
FLAG_NAMES = {"arms": "--arm"}
"""Flags with another name than their setting."""
_TAKEN: dict[Callable[..., None], tuple[str, ...]] = {}


def takes(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take these settings as flags, in its `**flags`; None for a flag that is not set."""

    def taking(command: Callable[..., None]) -> Callable[..., None]:
        _TAKEN[command] = names
        return _with_flags(command, {})

    return taking


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the flags of its settings; names and help texts are those of RunConfig."""
    if command not in _TAKEN:
        return command
    from regap.analyses.runs.config import RunConfig

    taken = _TAKEN[command]
    flags = {name: _flag(name, field) for name, field in RunConfig.model_fields.items() if name in taken}
    flags |= {name: flag for name, flag in {"config": Config, "force": Force}.items() if name in taken}
    return _with_flags(command, flags)


def _with_flags(command: Callable[..., None], flags: dict[str, Any]) -> Callable[..., None]:
    own = [each for name, each in signature(command).parameters.items() if name not in (*flags, "flags")]
    added = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=flags[name]) for name in flags]
    command.__signature__ = Signature([*own, *added])  # type: ignore[attr-defined] - typer reads it
    return command


def _flag(name: str, field: "FieldInfo") -> Any:
    """Return the flag of a setting: a list of strings is a repeated flag, a list of numbers one string."""
    flag, told = FLAG_NAMES.get(name, f"--{name.replace('_', '-')}"), field.description or ""
    kind: Any = next((one for one in (bool, int, float) if field.annotation in (one, one | None)), str)
    if "tuple[str" in str(field.annotation):
        kind, told = list[str], f"{told.removesuffix('.')}; repeat for more."
    return Annotated[kind | None, typer.Option(flag, help=told)]


@contextmanager
def progress() -> "Iterator[Tracker]":
    """Yield a tracker that shows a progress bar for each stage, with the time left, on the error stream."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<46}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as bars:

        def track(stage: str, total: int) -> "Advance":
            task = bars.add_task(stage, total=total)
            return lambda done: bars.advance(task, done)

        yield track


def settings_of(flags: dict[str, Any]) -> "RunConfig":
    """Return the settings from flags, REGAP_* variables and the file of --config."""
    from regap.analyses.runs.config import read_config

    given = {name: value for name, value in flags.items() if name not in ("config", "force") and value != []}
    return read_config(flags.get("config"), **given)


def wide(columns: int) -> Console:
    """Return a console for tables of this width; a narrower screen wraps their lines and not their cells."""
    return Console(width=max(screen.width, columns), highlight=False)


def print_note(note: str) -> None:
    """Print a note in plain text."""
    screen.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


def print_notes(folder: Path) -> None:
    """Print what was left out or made when a run's pairs were read."""
    from regap.analyses.runs.folder import provenance_of

    for note in provenance_of(folder)["notes"]:
        print_note(note)


def print_claims(folder: Path, table: str = "claims") -> None:
    """Print each claim of a run or of an answer with its verdict and evidence; nothing if it has none."""
    from regap.analyses.runs.records import Record, own_table

    if not own_table(folder, table).is_file():
        return  # text only, or a model that refuses nothing
    colours = {"holds": "green", "does not hold": "red", "unclear": "yellow"}
    for row in Record.load(folder, table).table.to_dict("records"):
        colour = colours[row["verdict"]]
        screen.print(
            f"\n[bold]{escape(row['title'])}[/]: [{colour}]{row['verdict']}[/]\n  {escape(row['evidence'])}"
        )


def table_of(
    rows: Iterable[dict[Any, Any]],
    columns: "Mapping[str, str | Callable[[dict[Any, Any]], str]]",
    **look: Any,
) -> Table:
    """Return a table with a line for each row; a column is named by its heading, a name in the rows or a function."""
    table = Table(*columns, **look)
    for row in rows:
        cells = (row[of] if isinstance(of, str) else of(row) for of in columns.values())
        table.add_row(*(escape(str(cell)) for cell in cells))
    return table


def estimate_in(row: dict[Any, Any]) -> str:
    """Return the estimate of a table's row, with its interval."""
    from regap.geometry.estimates import Estimate

    return str(Estimate(row["value"], row["low"], row["high"], row["n"]))


def detectable_in(row: dict[Any, Any]) -> str:
    """Return the smallest detectable change if no change was found, else nothing."""
    if row["p"] < 0.05:
        return ""
    return f"{row['detectable']:.2g}" if row["detectable"] == row["detectable"] else "any"


CHANGES = {
    "arm": "arm",
    "condition": "condition",
    "measure": "measure",
    "change": estimate_in,
    "p": lambda row: f"{row['p']:.2g}",
    "p, Holm": lambda row: f"{row['p_holm']:.2g}",
    "not found below": detectable_in,
}
"""Columns of a table of changes from no correction."""
