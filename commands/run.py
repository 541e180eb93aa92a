"""`regap demo`, `regap run` and `regap capture`: from a model and pairs to a run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from regap.commands.options import CAPTURING, Limit, Out, Seed, progress, screen, settings_of, takes

if TYPE_CHECKING:
    from regap.analyses.runs.config import RunConfig


def demo(out: Out = None, limit: Limit = None, seed: Seed = None) -> None:
    """Show collapse and correction on the bundled organism: every analysis, figure and report, in minutes."""
    from regap.analyses.runs.config import read_config
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


@takes(*CAPTURING, "read_back", "arm", "image_arm", "max_new_tokens", "false_refusals", "seed")
def run(
    **flags: Any,
) -> None:
    """Run every analysis on any model and any pairs, and write tables, figures, report and summary."""
    _run(settings_of(flags))


@takes(*CAPTURING, "arm")
def capture(
    **flags: Any,
) -> None:
    """Capture residual streams and write directions, drift and separability, without generating any answer."""
    settings = settings_of(flags)
    from regap.analyses.runs.every_analysis import capture_only

    with progress() as track:
        folder = capture_only(settings, track).folder
    _print_notes(folder)
    screen.print(f"residual streams, directions and tables are in {escape(str(folder))}")


def _run(config: "RunConfig") -> None:
    from regap.analyses.runs.every_analysis import run as run_analyses
    from regap.figures.gallery import write_figures
    from regap.figures.report import write_report

    with progress() as track:
        folder = run_analyses(config, track).folder
    write_figures(folder)
    page = write_report(folder)
    _print_claims(folder)
    _print_notes(folder)
    screen.print(f"\nreport: {escape(str(page))}\nnumbers: {escape(str(folder / 'summary.json'))}")


def _print_notes(folder: Path) -> None:
    """What was left out or made when the pairs were gathered."""
    import json

    for note in json.loads((folder / "provenance.json").read_text())["notes"]:
        screen.print(f"[yellow]note:[/] {escape(note)}")


def _print_claims(folder: Path) -> None:
    from regap.analyses.runs.records import Record, table_path

    if not table_path(folder, "claims").is_file():
        return  # words alone, or a model that refuses nothing
    colours = {"holds": "green", "does not hold": "red", "unclear": "yellow"}
    for row in Record.load(folder, "claims").table.to_dict("records"):
        colour = colours[row["verdict"]]
        screen.print(
            f"\n[bold]{escape(row['title'])}[/]: [{colour}]{row['verdict']}[/]\n  {escape(row['evidence'])}"
        )
