"""The command line. Heavy imports wait until a command runs, so that --help answers at once."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from regap.analyses.config import RunConfig
    from regap.analyses.doctor import Check
    from regap.analyses.tracking import Tracker

app = typer.Typer(
    name="regap",
    help="Measure, explain and repair the collapse of safety geometry in vision-language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
organism_app = typer.Typer(
    help="The bundled model organism: train it again, measure its card, write its pairs.",
    no_args_is_help=True,
)
app.add_typer(organism_app, name="organism")
screen = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Model = Annotated[
    str | None, typer.Option(help="organism, organism:MEMBER, a checkpoint folder or a hub id.")
]
PairsFile = Annotated[
    Path | None, typer.Option("--pairs", help="CSV, JSONL or parquet: one row per pair and arm.")
]
Out = Annotated[Path | None, typer.Option(help="Run folder; an interrupted run goes on there.")]
Arms = Annotated[list[str] | None, typer.Option("--arm", help="Arm to use; repeat for more. All by default.")]
ImageArm = Annotated[str | None, typer.Option(help="Arm that is corrected; typographic by default.")]
Limit = Annotated[int | None, typer.Option(help="At most this many pairs of each split and label.")]
Device = Annotated[str | None, typer.Option(help="Torch device, such as cpu or cuda.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16, float16 or auto.")]
Revision = Annotated[str | None, typer.Option(help="Revision of a hub id.")]
Download = Annotated[
    bool | None, typer.Option("--download", help="Allow the network for a hub id not cached yet.")
]
BatchSize = Annotated[int | None, typer.Option(help="Prompts in one forward pass.")]
Budget = Annotated[
    float | None, typer.Option("--false-refusals", help="Share of harmless images that may be gated.")
]
MaxNewTokens = Annotated[int | None, typer.Option(help="Token budget of an answer.")]
Seed = Annotated[int | None, typer.Option(help="Seed of resamples and controls.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file with settings; flags win over it.")
]
Run = Annotated[Path, typer.Argument(help="A run folder.")]


@app.command()
def demo(out: Out = None, limit: Limit = None, seed: Seed = None) -> None:
    """Show collapse and correction on the bundled organism: every analysis, figure and report, in minutes."""
    from regap.analyses.config import read_config
    from regap.organism.family import family

    members = tuple(f"organism:{name}" for name in family())
    config = read_config(
        None,
        model="organism",
        out=str(out or "runs/demo"),
        limit=limit,
        seed=seed,
        family=members,
        max_new_tokens=32,
    )
    _run(config)


@app.command()
def run(
    model: Model = None,
    pairs: PairsFile = None,
    out: Out = None,
    arm: Arms = None,
    image_arm: ImageArm = None,
    limit: Limit = None,
    device: Device = None,
    dtype: Dtype = None,
    revision: Revision = None,
    download: Download = None,
    batch_size: BatchSize = None,
    max_new_tokens: MaxNewTokens = None,
    false_refusals: Budget = None,
    seed: Seed = None,
    config: ConfigFile = None,
) -> None:
    """Run every analysis on any model and any pairs, and write tables, figures, report and summary."""
    from regap.analyses.config import read_config

    flags = {name: value for name, value in locals().items() if name not in ("config", "arm", "read_config")}
    _run(read_config(config, arms=tuple(arm or ()), **_as_text(flags)))


@app.command()
def capture(
    model: Model = None,
    pairs: PairsFile = None,
    out: Out = None,
    arm: Arms = None,
    limit: Limit = None,
    device: Device = None,
    dtype: Dtype = None,
    revision: Revision = None,
    download: Download = None,
    batch_size: BatchSize = None,
    config: ConfigFile = None,
) -> None:
    """Capture residual streams and write directions, drift and separability, without generating any answer."""
    from regap.analyses.capture_only import capture_only
    from regap.analyses.config import read_config

    flags = {n: v for n, v in locals().items() if n not in ("config", "arm", "read_config", "capture_only")}
    settings = read_config(config, arms=tuple(arm or ()), **_as_text(flags))
    with _progress() as track:
        folder = capture_only(settings, track)
    screen.print(f"residual streams, directions and tables are in {escape(str(folder.path))}")


@app.command()
def figures(
    run_folder: Run, only: Annotated[str | None, typer.Option(help="Draw this figure alone.")] = None
) -> None:
    """Draw every figure of a run again, from its tables alone."""
    from regap.figures.gallery import write_figures

    for path in write_figures(run_folder, only=only) if only else write_figures(run_folder):
        screen.print(escape(str(path)))


@app.command()
def report(run_folder: Run) -> None:
    """Write report.html of a run again: one file that opens offline."""
    from regap.figures.report import write_report

    screen.print(escape(str(write_report(run_folder))))


@app.command()
def doctor(
    model: Annotated[str | None, typer.Argument(help="organism, a checkpoint folder or a hub id.")] = None,
    device: Device = None,
    dtype: Dtype = None,
    download: Download = None,
) -> None:
    """Check the installation and, on a model, that hooks read and write what they say."""
    from regap.analyses.doctor import check_environment, check_model, shown_prompt
    from regap.geometry.models import load

    checks = check_environment()
    loaded = load(
        model or "organism", device=device or "cpu", dtype=dtype or "float32", download=bool(download)
    )
    checks += check_model(loaded)
    screen.print(_table_of(checks))
    screen.print(f"one image prompt as the model reads it:\n{escape(shown_prompt(loaded))}")
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


@organism_app.command("train")
def organism_train(
    out: Annotated[
        Path, typer.Option(help="Folder for the checkpoints; training goes on from what is there.")
    ],
    threads: Annotated[int, typer.Option(help="Processor cores to use.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of data, initial weights and order.")] = 0,
) -> None:
    """Train the whole organism family again, stage by stage; a run that was cut off goes on."""
    from regap.organism.training import TrainingConfig, train

    train(TrainingConfig(seed=seed), out, threads)


@organism_app.command("pairs")
def organism_pairs(
    out: Annotated[Path, typer.Option(help="A file that ends in .parquet.")],
    seed: Seed = None,
) -> None:
    """Write the pairs that `regap demo` asks, pictures included: an example of a pairs file."""
    from regap.analyses.config import read_config
    from regap.analyses.run import pairs_of
    from regap.geometry.pair_files import write_pairs

    pairs = pairs_of(read_config(seed=seed))
    write_pairs(pairs, out)
    screen.print(f"{len(pairs)} pairs in {len(pairs.arms)} arms: {escape(str(out))}")


@organism_app.command("card")
def organism_card(
    out: Annotated[Path, typer.Option(help="Folder for card.md and card.csv.")] = Path("runs/card"),
    seed: Seed = None,
) -> None:
    """Measure every figure of the organism's card on held-out prompts, with intervals."""
    from regap.analyses.organism_card import as_markdown, measure_card

    with _progress() as track:
        figures = measure_card(out, seed or 0, track)
    screen.print(as_markdown(figures), markup=False, soft_wrap=True)
    if any(figure.met is False for figure in figures):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line: an error is one line, and the exit code says what kind it is."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except SystemExit as end:
        if end.code != 130:  # what typer makes of an interruption
            raise
        _stop("stopped; what was finished is kept: run the same command again to go on", 130)
    except Exception as error:
        if debug:
            raise
        _stop(str(error) or type(error).__name__, 2 if isinstance(error, ValueError) else 1)


def _run(config: "RunConfig") -> None:
    from regap.analyses.run import run as run_analyses
    from regap.figures.gallery import write_figures
    from regap.figures.report import write_report

    with _progress() as track:
        folder = run_analyses(config, track)
    write_figures(folder.path)
    page = write_report(folder.path)
    _print_claims(folder.path)
    screen.print(f"\nreport: {escape(str(page))}\nnumbers: {escape(str(folder.path / 'summary.json'))}")


def _print_claims(folder: Path) -> None:
    from regap.analyses.records import Record

    colours = {"holds": "green", "does not hold": "red", "unclear": "yellow"}
    for row in Record.load(folder, "claims").table.to_dict("records"):
        colour = colours[row["verdict"]]
        screen.print(
            f"\n[bold]{escape(row['title'])}[/]: [{colour}]{row['verdict']}[/]\n  {escape(row['evidence'])}"
        )


@contextmanager
def _progress() -> "Iterator[Tracker]":
    from regap.analyses.tracking import progress_bars

    with progress_bars(errors) as track:
        yield track


def _as_text(flags: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in flags.items()}


def _table_of(checks: "list[Check]") -> Table:
    table = Table("check", "", "measured")
    for check in checks:
        table.add_row(check.name, "[green]ok[/]" if check.passed else "[red]failed[/]", escape(check.detail))
    return table


def _stop(message: str, code: int) -> None:
    errors.print(f"[red]error:[/] {escape(message)}" if code != 130 else escape(message), soft_wrap=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
