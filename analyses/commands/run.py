"""`regap demo`, `regap run` and `regap capture`: from a model and pairs to a run folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from regap.analyses.commands.options import (
    Arms,
    Attention,
    BatchSize,
    BatchTokens,
    Benchmark,
    Budget,
    ConfigFile,
    Data,
    Device,
    DeviceMap,
    Download,
    Dtype,
    Harmless,
    ImageArm,
    Limit,
    Make,
    MaxNewTokens,
    Model,
    Out,
    PairsFile,
    Partial,
    Quantize,
    ReadBack,
    Revision,
    Seed,
    Style,
    progress,
    screen,
    settings_of,
)

if TYPE_CHECKING:
    from regap.analyses.config import RunConfig


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


def run(
    model: Model = None,
    pairs: PairsFile = None,
    benchmark: Benchmark = None,
    data: Data = None,
    harmless: Harmless = None,
    partial: Partial = None,
    make: Make = None,
    style: Style = None,
    read_back: ReadBack = None,
    out: Out = None,
    arm: Arms = None,
    image_arm: ImageArm = None,
    limit: Limit = None,
    device: Device = None,
    dtype: Dtype = None,
    device_map: DeviceMap = None,
    quantize: Quantize = None,
    attention: Attention = None,
    revision: Revision = None,
    download: Download = None,
    batch_size: BatchSize = None,
    batch_tokens: BatchTokens = None,
    max_new_tokens: MaxNewTokens = None,
    false_refusals: Budget = None,
    seed: Seed = None,
    config: ConfigFile = None,
) -> None:
    """Run every analysis on any model and any pairs, and write tables, figures, report and summary."""
    _run(settings_of(locals()))


def capture(
    model: Model = None,
    pairs: PairsFile = None,
    benchmark: Benchmark = None,
    data: Data = None,
    harmless: Harmless = None,
    partial: Partial = None,
    make: Make = None,
    style: Style = None,
    out: Out = None,
    arm: Arms = None,
    limit: Limit = None,
    device: Device = None,
    dtype: Dtype = None,
    device_map: DeviceMap = None,
    quantize: Quantize = None,
    attention: Attention = None,
    revision: Revision = None,
    download: Download = None,
    batch_size: BatchSize = None,
    batch_tokens: BatchTokens = None,
    config: ConfigFile = None,
) -> None:
    """Capture residual streams and write directions, drift and separability, without generating any answer."""
    settings = settings_of(locals())
    from regap.analyses.capture_only import capture_only

    with progress() as track:
        folder = capture_only(settings, track)
    _print_notes(folder.path)
    screen.print(f"residual streams, directions and tables are in {escape(str(folder.path))}")


def _run(config: "RunConfig") -> None:
    from regap.analyses.run import run as run_analyses
    from regap.figures.gallery import write_figures
    from regap.figures.report import write_report

    with progress() as track:
        folder = run_analyses(config, track)
    write_figures(folder.path)
    page = write_report(folder.path)
    _print_claims(folder.path)
    _print_notes(folder.path)
    screen.print(f"\nreport: {escape(str(page))}\nnumbers: {escape(str(folder.path / 'summary.json'))}")


def _print_notes(folder: Path) -> None:
    """What was left out or made when the pairs were gathered."""
    import json

    for note in json.loads((folder / "provenance.json").read_text())["notes"]:
        screen.print(f"[yellow]note:[/] {escape(note)}")


def _print_claims(folder: Path) -> None:
    from regap.analyses.records import Record

    colours = {"holds": "green", "does not hold": "red", "unclear": "yellow"}
    for row in Record.load(folder, "claims").table.to_dict("records"):
        colour = colours[row["verdict"]]
        screen.print(
            f"\n[bold]{escape(row['title'])}[/]: [{colour}]{row['verdict']}[/]\n  {escape(row['evidence'])}"
        )
