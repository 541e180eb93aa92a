"""`regap utility`: a utility benchmark with a run's corrections, scored by the benchmark's own rule."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from regap.commands.options import (
    RELOCATING,
    Run,
    detectable_in,
    estimate_in,
    progress,
    run_of,
    screen,
    takes,
)

if TYPE_CHECKING:
    from regap.analyses.runs.records import Record


@takes(*RELOCATING, "partial", "seed")
def utility(
    run_folder: Run,
    benchmark: Annotated[str, typer.Option(help="mme, pope, scienceqa, mmbench, mmbench-circular or mmmu.")],
    limit: Annotated[int | None, typer.Option(help="Most questions; their twins are added.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Also use this method of `regap compare`, at the run's site; repeat for more."),
    ] = None,
    **flags: Any,
) -> None:
    """Ask a run's model the questions of a utility benchmark, with and without corrections, and score the answers."""
    from regap.analyses.utility.asked import Asking, ask_utility
    from regap.analyses.utility.marking import RULES

    data, partial, seed = (flags.pop(name) for name in ("data", "partial", "seed"))
    asking = Asking(benchmark, data, limit, tuple(method or ()), bool(flags["download"]), bool(partial))
    with progress() as track:
        run = run_of(run_folder, flags, track)
        records = {record.name: record for record in ask_utility(run, asking, seed)}
    print_utility(records, benchmark)
    if RULES[benchmark].defects:
        screen.print(f"[yellow]note:[/] {escape(RULES[benchmark].defects)}", soft_wrap=True)
    screen.print(f"tables: {', '.join(records)} in {escape(str(run_folder / 'asked'))}", soft_wrap=True)


def print_utility(records: "dict[str, Record]", benchmark: str) -> None:
    """Print the measures of a benchmark over all categories, and the changes by each correction."""
    screen.print(_shares(records["utility"], benchmark))
    if "utility_changes" in records:
        screen.print(_changes(records["utility_changes"], benchmark))


def _shares(record: "Record", benchmark: str) -> Table:
    table = Table("arm", "condition", "measure", "value", "n", title=f"{benchmark}; the table has categories")
    for row in record.where(benchmark=benchmark, category="all").to_dict("records"):
        names = (escape(str(row[name])) for name in ("arm", "condition", "measure"))
        table.add_row(*names, estimate_in(row), str(row["n"]))
    return table


def _changes(record: "Record", benchmark: str) -> Table:
    from regap.analyses.utility.tables import MARGIN

    heads = (
        "arm",
        "condition",
        "measure",
        "change",
        "p",
        "p, Holm",
        "not found below",
        f"equal within {MARGIN:g}",
    )
    table = Table(*heads, title="against no correction, on the same questions")
    for row in record.where(benchmark=benchmark).to_dict("records"):
        names = (escape(str(row[name])) for name in ("arm", "condition", "measure"))
        equal = f"{'yes' if row['p_equivalent'] < 0.05 else 'not shown'}, p = {row['p_equivalent']:.2g}"
        table.add_row(
            *names, estimate_in(row), f"{row['p']:.2g}", f"{row['p_holm']:.2g}", detectable_in(row), equal
        )
    return table
