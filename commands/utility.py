"""`regap utility`: a utility benchmark with a run's corrections, scored by the benchmark's own rule."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import (
    CHANGES,
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
        print_note(RULES[benchmark].defects)
    screen.print(f"tables: {', '.join(records)} in {escape(str(run_folder / 'asked'))}", soft_wrap=True)


def print_utility(records: "dict[str, Record]", benchmark: str) -> None:
    """Print the measures of a benchmark over all categories, and the changes by each correction."""
    from regap.analyses.utility.tables import MARGIN

    shares = records["utility"].where(benchmark=benchmark, category="all").to_dict("records")
    columns = {name: name for name in ("arm", "condition", "measure")}
    columns |= {"value": estimate_in, "n": "n"}
    screen.print(table_of(shares, columns, title=f"{benchmark}; the table has categories"))
    if "utility_changes" in records:
        changes = records["utility_changes"].where(benchmark=benchmark).to_dict("records")
        columns = {**CHANGES, f"equal within {MARGIN:g}": _equal}
        screen.print(table_of(changes, columns, title="against no correction, on the same questions"))


def _equal(row: dict[Any, Any]) -> str:
    return f"{'yes' if row['p_equivalent'] < 0.05 else 'not shown'}, p = {row['p_equivalent']:.2g}"
