"""`regap plan`: what a run will take."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from regap.commands.options import (
    BatchSize,
    BatchTokens,
    Download,
    Dtype,
    MaxNewTokens,
    PairsFile,
    Revision,
    screen,
)

if TYPE_CHECKING:
    from regap.analyses.runs.plan import Plan


def plan(
    model: Annotated[str, typer.Argument(help="organism, a checkpoint folder or a hub id.")],
    pairs: PairsFile = None,
    prompts: Annotated[int, typer.Option(help="Without --pairs: how many prompts, of all arms.")] = 1000,
    tokens: Annotated[int, typer.Option(help="Without --pairs: tokens of words in a prompt.")] = 64,
    image_size: Annotated[
        str | None, typer.Option(help="Without --pairs: HEIGHTxWIDTH of one picture a prompt.")
    ] = None,
    dtype: Dtype = None,
    revision: Revision = None,
    download: Download = None,
    batch_size: BatchSize = None,
    batch_tokens: BatchTokens = None,
    max_new_tokens: MaxNewTokens = None,
    tflops: Annotated[
        float | None,
        typer.Option(
            help="What the device does in large matrix products; this processor's by default.", min=1e-3
        ),
    ] = None,
) -> None:
    """Estimate parameters, memory, disk and time of a run from the configuration alone; no weight is loaded."""
    from regap.analyses.runs import plan as planning
    from regap.geometry.data.pair_files import read_pairs
    from regap.geometry.models.loading import load_without_weights

    size = planning.image_size_of(image_size) if image_size else None
    unloaded = load_without_weights(
        model, dtype=dtype or "float32", revision=revision, download=bool(download)
    )
    limits = (batch_size or planning.BATCH, batch_tokens or planning.BATCH_TOKENS)
    if pairs:
        work = planning.work_of_pairs(unloaded, read_pairs(pairs), *limits)
    else:
        work = planning.work_of_counts(unloaded, prompts, tokens, size, *limits)
    rate = tflops * 1e12 if tflops else None
    found = planning.plan(
        unloaded, work, max_new_tokens=64 if max_new_tokens is None else max_new_tokens, rate=rate
    )
    screen.print(_table_of_plan(found))


def _table_of_plan(found: "Plan") -> Table:
    from regap.analyses.runs.plan import as_rows

    table = Table("what", "how much", "counted as")
    for row in as_rows(found):
        table.add_row(row.name, row.amount, escape(row.counted))
    return table
