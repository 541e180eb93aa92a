"""`regap compare`: every method on the same pairs, with the same budgets and judge."""

from typing import Annotated

import typer
from rich.markup import escape

from regap.analyses.commands.options import (
    Arms,
    Attention,
    BatchSize,
    BatchTokens,
    Benchmark,
    Budget,
    ConfigFile,
    Contrast,
    ContrastData,
    Data,
    Device,
    DeviceMap,
    Download,
    Dtype,
    Family,
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

Methods = Annotated[
    list[str] | None,
    typer.Option("--method", help="Method to compare; repeat for more. All whose arms are there by default."),
]


def compare(
    method: Methods = None,
    model: Model = None,
    family: Family = None,
    pairs: PairsFile = None,
    benchmark: Benchmark = None,
    data: Data = None,
    harmless: Harmless = None,
    partial: Partial = None,
    contrast: Contrast = None,
    contrast_data: ContrastData = None,
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
    from regap.analyses.commands.compared import print_comparison
    from regap.analyses.compare import compare as compare_methods
    from regap.figures.gallery import write_figures

    with progress() as track:
        folder = compare_methods(settings, tuple(method or ()), track)
    drawn = write_figures(folder.path, only="methods")
    print_comparison(folder.path)
    screen.print(f"\ntables: {escape(str(folder.path / 'tables'))}\nfigure: {escape(str(drawn[0]))}")
