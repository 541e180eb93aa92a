"""Flags of settings, made from the fields of RunConfig; and where commands print."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from regap.analyses.runs.config import RunConfig
    from regap.analyses.runs.run import Run as OpenedRun
    from regap.geometry.forward.runner import Advance, Tracker

screen = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Config = Annotated[Path | None, typer.Option("--config", help="TOML file with settings; flags win over it.")]
Force = Annotated[
    bool | None,
    typer.Option("--force", help="Where the folder holds another run, move that to before-N inside it."),
]
Run = Annotated[Path, typer.Argument(help="A run folder.")]
Again = Annotated[
    Path | None,
    typer.Argument(help="A finished run folder, taken up with its settings; none for a run of its own."),
]


def run_of(
    folder: Path | None,
    flags: dict[str, Any],
    track: "Tracker",
    check: "Callable[[Any], None] | None" = None,
) -> "OpenedRun":
    """Return the run in the folder, found and executed as the flags say, or a new one that the flags ask for."""
    from regap.analyses.runs.run import open_run, start_run

    if folder is None:
        return start_run(settings_of(flags), track, check=check, force=bool(flags.get("force")))
    return open_run(
        folder, track, check=check, **{name: value for name, value in flags.items() if value != []}
    )


def check_run(folder: Path) -> None:
    """Raise ValueError for a folder that holds nothing of a run, so that nothing is written into a stranger's."""
    known = ("config.toml", "provenance.json", "summary.json", "tables")
    if not any((folder / name).exists() for name in known):
        raise ValueError(f"run folder {folder} holds no run; name a folder that `regap run` made")


LOADING = ("device", "dtype", "device_map", "quantize", "attention", "revision", "download")
"""How a model is loaded."""
LIMITS = ("batch_size", "batch_tokens")
"""How much goes through a model at once."""
RELOCATING = ("model", "pairs", "data", "device", "device_map", "download", *LIMITS)
"""Where a finished run's model and pairs are now, and how it is executed now."""
ASKING = (
    "pairs",
    "columns",
    "labels",
    "benchmark",
    "data",
    "harmless",
    "partial",
    "make",
    "style",
    "system",
    "limit",
)
"""What is asked."""
CAPTURING = ("model", *ASKING, "out", *LOADING, *LIMITS, "config", "force")
"""What every command takes that reads residual streams."""
FLAG_NAMES = {"arms": "--arm"}
"""Flags that are not called as their setting is."""
_TAKEN: dict[Callable[..., None], tuple[str, ...]] = {}


def takes(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take these settings as flags, in its `**flags`, by name; None where a flag is not set."""

    def taking(command: Callable[..., None]) -> Callable[..., None]:
        _TAKEN[command] = names
        return _with_flags(command, {})

    return taking


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the flags of its settings; what they are called and do is read off RunConfig."""
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
    """The flag of a setting: several texts are repeated, several numbers are one text, yes is the flag alone."""
    flag, told = FLAG_NAMES.get(name, f"--{name.replace('_', '-')}"), field.description or ""
    kind: Any = next((one for one in (bool, int, float) if field.annotation in (one, one | None)), str)
    if "tuple[str" in str(field.annotation):
        kind, told = list[str], f"{told.removesuffix('.')}; repeat for more."
    return Annotated[kind | None, typer.Option(flag, help=told)]


@contextmanager
def progress() -> "Iterator[Tracker]":
    """Yield a tracker that shows one bar for each step, with the time left, on the error stream."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<46}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as bars:

        def track(stage: str, total: int) -> "Advance":
            task = bars.add_task(stage, total=total)
            return lambda done: bars.advance(task, done)

        yield track


def settings_of(flags: dict[str, Any]) -> "RunConfig":
    """Return the settings that flags, variables and the file of --config ask for."""
    from regap.analyses.runs.config import read_config

    given = {name: value for name, value in flags.items() if name not in ("config", "force") and value != []}
    return read_config(flags.get("config"), **given)
