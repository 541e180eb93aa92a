"""`regap compare`: every method on the same pairs, with the same budgets and judge."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

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
    Revision,
    Seed,
    Style,
    progress,
    screen,
    settings_of,
)

WIDTH = 128
"""Columns of the printed table: a narrower screen wraps its lines rather than its cells."""
MEASURES = ("attack_success", "over_refusal", "utility")
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", help="Method to compare; repeat for more. All whose arms are there by default."),
]


def compare(
    method: Methods = None,
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
    """Compare defences, each at the site and strength that calibration pairs choose within one budget."""
    settings = settings_of(locals())
    from regap.analyses.compare import compare as compare_methods
    from regap.figures.gallery import write_figures

    with progress() as track:
        folder = compare_methods(settings, tuple(method or ()), track)
    drawn = write_figures(folder.path, only="methods")
    _print_table(folder.path)
    screen.print(f"\ntables: {escape(str(folder.path / 'tables'))}\nfigure: {escape(str(drawn[0]))}")


def _print_table(folder: Path) -> None:
    from regap.analyses.records import Record
    from regap.interventions.methods.catalogue import METHODS

    outcomes = Record.load(folder, "methods").table
    settings = Record.load(folder, "method_settings").table
    heads = ("attack success %", "over-refusal %", "utility %", "p", "layer", "strength", "also runs", "time")
    table = Table("method", *heads, box=None, pad_edge=False)
    for row in settings.to_dict("records"):
        found = outcomes[outcomes["method"] == row["method"]].set_index("measure")
        table.add_row(*_cells(row, [found.loc[measure] for measure in MEASURES]))
    Console(width=max(screen.width, WIDTH), highlight=False).print(table)
    screen.print("p: attack success against no defence, exact McNemar test, after Holm's correction")
    if absent := [name for name in METHODS if name not in set(settings["method"])]:
        screen.print(
            f"[yellow]note:[/] not compared: {', '.join(absent)}; their arms are not there or not asked"
        )


def _cells(row: dict[Any, Any], found: list[Any]) -> list[str]:
    shares = [f"{100 * one['value']:.0f} [{100 * one['low']:.0f}, {100 * one['high']:.0f}]" for one in found]
    p = found[0]["p_holm"]
    place = str(row["site"]).removeprefix("layers ").split(" / ")[0]
    acts = [place if "," not in place else "all", f"{row['strength']:g}"]
    runs = f"{row['looks_at']}{' + ' if row['looks_at'] and row['readings'] else ''}" + (
        f"{row['readings']} x last token" if row["readings"] else ""
    )
    cells = [*shares, "" if p != p else f"{p:.2g}", *acts, runs, f"{row['time']:.2f} x"]
    return [escape(cell) for cell in (str(row["title"]), *cells)]
