"""`regap plan`: what a run will take."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from regap.commands.options import LIMITS, screen, takes

if TYPE_CHECKING:
    from regap.analyses.runs.plan import Plan


@takes("pairs", "columns", "labels", "dtype", "revision", "download", *LIMITS, "max_new_tokens")
def plan(
    model: Annotated[str, typer.Argument(help="organism, a checkpoint folder or a hub id.")],
    prompts: Annotated[int, typer.Option(help="Without --pairs: how many prompts, of all arms.")] = 1000,
    tokens: Annotated[int, typer.Option(help="Without --pairs: tokens of words in a prompt.")] = 64,
    image_size: Annotated[
        str | None, typer.Option(help="Without --pairs: HEIGHTxWIDTH of one picture a prompt.")
    ] = None,
    tflops: Annotated[
        float | None,
        typer.Option(
            help="What the device does in large matrix products; this processor's by default.", min=1e-3
        ),
    ] = None,
    **flags: Any,
) -> None:
    """Estimate parameters, memory, disk and time of a run from the configuration alone; no weight is loaded."""
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
    screen.print(_table_of_plan(found))


def _table_of_plan(found: "Plan") -> Table:
    from regap.analyses.runs.plan import as_rows

    table = Table("what", "how much", "counted as")
    for row in as_rows(found):
        table.add_row(row.name, row.amount, escape(row.counted))
    return table
