"""`regap demo`, `regap run`, `regap capture` and `regap plan`: make a run folder, and estimate its cost."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import (
    ANSWERING,
    CAPTURING,
    LIMITS,
    print_claims,
    print_notes,
    progress,
    screen,
    settings_of,
    table_of,
    takes,
)

if TYPE_CHECKING:
    from regap.analyses.runs.config import RunConfig


@takes("out", "limit", *LIMITS, "seed", "force")
def demo(**flags: Any) -> None:
    """Run every analysis on the bundled model organism, with figures and a report; takes minutes."""
    from regap.analyses.runs.config import read_config
    from regap.organism.family import family

    members = tuple(f"organism:{name}" for name in family())
    given = {name: value for name, value in flags.items() if name != "force"}
    given["out"] = flags["out"] or "runs/demo"
    config = read_config(model="organism", family=members, max_new_tokens=32, **given)
    _run(config, force=bool(flags["force"]))


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
    model: Annotated[str, typer.Argument(help="organism, a checkpoint folder or a hub id.")],
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
