"""`regap transfer`: a run's directions and corrections on another set of requests."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import (
    RELOCATING,
    Run,
    estimate_in,
    print_note,
    progress,
    run_of,
    screen,
    table_of,
    takes,
)

if TYPE_CHECKING:
    from regap.analyses.runs.records import Record


@takes(*RELOCATING, "harmless", "partial", "seed")
def transfer(
    run_folder: Run,
    benchmark: Annotated[
        str, typer.Option(help="Benchmark with harmful requests; `regap benchmarks` lists them.")
    ],
    limit: Annotated[int | None, typer.Option(help="Most pairs of each split and label.", min=4)] = None,
    edit: Annotated[
        list[str] | None,
        typer.Option(
            help="Stored correction to try, such as regap; repeat for more. By default all of the run."
        ),
    ] = None,
    **flags: Any,
) -> None:
    """Use a run's directions and corrections on the requests of a benchmark, with nothing chosen there."""
    from regap.analyses.calibration.transfer import Elsewhere
    from regap.analyses.calibration.transfer import transfer as ask
    from regap.analyses.runs.questions import questions_of

    own = {name: flags.pop(name) for name in ("data", "harmless", "partial", "seed")}
    elsewhere = Elsewhere(
        benchmark,
        own["data"],
        own["harmless"],
        limit,
        bool(own["partial"]),
        bool(flags["download"]),
        tuple(edit or ()),
    )
    with progress() as track:
        run = run_of(run_folder, flags, track)
        records = {record.name: record for record in ask(run, elsewhere, own["seed"])}
    print_transfer(records, run.measured.layer)
    for note in questions_of(run_folder)[0].settings["notes"]:
        print_note(note)
    screen.print(f"tables: {', '.join(records)} in {escape(str(run_folder / 'asked'))}", soft_wrap=True)


def print_transfer(records: "dict[str, Record]", layer: int) -> None:
    """Print separability along both directions at the run's layer, and the shares under each correction."""
    rows = records["transfer"].where(layer=layer).to_dict("records")
    kept = [row for row in rows if row["measure"] in ("d_prime", "auroc", "cosine")]
    columns: dict[str, Any] = {
        "arm": "arm",
        "direction of": "direction",
        "measure": "measure",
        "value": estimate_in,
    }
    screen.print(table_of(kept, {**columns, "n": "n"}, title=f"along refusal directions, layer {layer}"))
    shares = records["transfer_outcomes"].table.to_dict("records")
    columns = {name: name for name in ("arm", "condition", "measure")}
    screen.print(table_of(shares, {**columns, "value": estimate_in, "n": "n"}, title="answers"))
