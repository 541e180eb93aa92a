"""`regap demo`, `regap run` and `regap capture`: from a model and pairs to a run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from regap.commands.options import CAPTURING, LIMITS, progress, screen, settings_of, takes

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


@takes(
    *CAPTURING,
    "family",
    "read_back",
    "arms",
    "image_arm",
    "layers",
    "strengths",
    "max_new_tokens",
    "false_refusals",
    "judge",
    "seed",
)
def run(**flags: Any) -> None:
    """Run every analysis on any model and any pairs; write tables, figures, a report and a summary."""
    _run(settings_of(flags), force=bool(flags["force"]))


@takes(*CAPTURING, "arms", "position", "seed")
def capture(**flags: Any) -> None:
    """Capture residual streams; write directions, drift and separability. No answer is generated."""
    settings = settings_of(flags)
    from regap.analyses.runs.every_analysis import capture_only

    with progress() as track:
        folder = capture_only(settings, track, force=bool(flags["force"])).folder
    _print_notes(folder)
    screen.print(f"residual streams, directions and tables are in {escape(str(folder))}")


def _run(config: "RunConfig", *, force: bool) -> None:
    from regap.analyses.runs.every_analysis import run as run_analyses
    from regap.figures.gallery import write_figures
    from regap.figures.report import write_report

    with progress() as track:
        folder = run_analyses(config, track, force=force).folder
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
    from regap.analyses.runs.records import Record, own_table

    if not own_table(folder, "claims").is_file():
        return  # words alone, or a model that refuses nothing
    colours = {"holds": "green", "does not hold": "red", "unclear": "yellow"}
    for row in Record.load(folder, "claims").table.to_dict("records"):
        colour = colours[row["verdict"]]
        screen.print(
            f"\n[bold]{escape(row['title'])}[/]: [{colour}]{row['verdict']}[/]\n  {escape(row['evidence'])}"
        )
