"""`regap demo`, `regap run`, `regap capture` and `regap plan`: make a run folder, and estimate its cost."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import (
    ANSWERING,
    CAPTURING,
    LIMITS,
    Subject,
    print_claims,
    print_notes,
    progress,
    screen,
    settings_of,
    table_of,
    takes,
)

ENGLISH_LIMIT = 60
"""Prompts of each split and label in the demo on the English subject."""

if TYPE_CHECKING:
    from regap.analyses.runs.config import RunConfig


@takes("out", "limit", *LIMITS, "seed", "force")
def demo(
    subject: Annotated[
        Subject,
        typer.Option(help="`world`: the bundled organism. `english`: a pretrained language model with eyes."),
    ] = "world",
    **flags: Any,
) -> None:
    """Run every analysis on the bundled model organism, or on the English subject, with figures and a report.

    It takes minutes. The English subject needs the extra `english`, and is asked fewer prompts by default.
    """
    given = {name: value for name, value in flags.items() if name != "force"}
    config = _english_demo(given) if subject == "english" else _world_demo(given)
    _run(config, force=bool(flags["force"]))


def _world_demo(given: dict[str, Any]) -> "RunConfig":
    from regap.analyses.runs.config import read_config
    from regap.organism.family import family

    members = tuple(f"organism:{name}" for name in family())
    return read_config(
        model="organism", family=members, max_new_tokens=32, **{**given, "out": given["out"] or "runs/demo"}
    )


def _english_demo(given: dict[str, Any]) -> "RunConfig":
    from regap.analyses.runs.config import read_config

    return read_config(
        model="english",
        make=("typographic", "blank"),
        max_new_tokens=24,
        **{**given, "out": given["out"] or "runs/english-demo", "limit": given["limit"] or ENGLISH_LIMIT},
    )


@takes(*CAPTURING, *ANSWERING, "read_back")
def run(**flags: Any) -> None:
    """Run every analysis on any model and any pairs; write tables, figures, a report and a summary."""
    _run(settings_of(flags), force=bool(flags["force"]))


@takes(*CAPTURING, "arms", "position", "seed")
def capture(**flags: Any) -> None:
    """Capture residual streams; write directions, drift and separability, without generating answers."""
    settings = settings_of(flags)
    from regap.analyses.runs.every_analysis import capture_only

    with progress() as track:
        folder = capture_only(settings, track, force=bool(flags["force"])).folder
    print_notes(folder)
    screen.print(f"residual streams, directions and tables are in {escape(str(folder))}")


def _run(config: "RunConfig", *, force: bool) -> None:
    from regap.analyses.runs.every_analysis import run as run_analyses
    from regap.figures.gallery import write_figures
    from regap.figures.report import write_report

    with progress() as track:
        folder = run_analyses(config, track, force=force).folder
    write_figures(folder)
    page = write_report(folder)
    print_claims(folder)
    print_notes(folder)
    screen.print(f"\nreport: {escape(str(page))}\nnumbers: {escape(str(folder / 'summary.json'))}")


@takes(
    "pairs",
    "columns",
    "labels",
    "splits",
    "arm_names",
    "dtype",
    "revision",
    "download",
    *LIMITS,
    "max_new_tokens",
)
def plan(
    model: Annotated[str, typer.Argument(help="organism, english, a checkpoint folder or a hub id.")],
    prompts: Annotated[int, typer.Option(help="Without --pairs: number of prompts in all arms.")] = 1000,
    tokens: Annotated[int, typer.Option(help="Without --pairs: text tokens of a prompt.")] = 64,
    image_size: Annotated[
        str | None, typer.Option(help="Without --pairs: HEIGHTxWIDTH of one picture in each prompt.")
    ] = None,
    tflops: Annotated[
        float | None,
        typer.Option(
            help="Speed of the device in large matrix products; that of this processor by default.", min=1e-3
        ),
    ] = None,
    **flags: Any,
) -> None:
    """Estimate parameters, memory, disk space and time of a run from the model's configuration, without weights."""
    from regap.analyses.runs import plan as planning
    from regap.analyses.runs.config import read_config
    from regap.analyses.runs.pairs import pairs_of
    from regap.analyses.runs.run import limits_of
    from regap.geometry.models.loading import load_without_weights

    size = planning.image_size_of(image_size) if image_size else None
    config = read_config(model=model, **flags)
    unloaded = load_without_weights(
        model, dtype=config.dtype, revision=config.revision, download=config.download
    )
    limits = (limits_of(config).prompts, config.batch_tokens)
    if config.pairs:
        work = planning.work_of_pairs(unloaded, pairs_of(config), *limits)
    else:
        work = planning.work_of_counts(unloaded, prompts, tokens, size, *limits)
    rate = tflops * 1e12 if tflops else None
    found = planning.plan(unloaded, work, max_new_tokens=config.max_new_tokens, rate=rate)
    columns = {"what": "name", "how much": "amount", "counted as": "counted"}
    screen.print(table_of(map(vars, planning.as_rows(found)), columns))
