"""`regap doctor` and `regap benchmarks`: what a run needs: a model that passes its checks, and data in a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from regap.commands.options import LOADING, screen, takes

if TYPE_CHECKING:
    from regap.analyses.self_test.hook_names import Check
    from regap.geometry.data.benchmarks.card import BenchmarkCard


def benchmarks(
    folder: Annotated[Path | None, typer.Argument(help="Folder of downloaded benchmarks.")] = None,
) -> None:
    """List the benchmarks with rows, arms, licence and source, and show which of them are in a folder."""
    from regap.errors import PairError
    from regap.geometry.data.benchmarks.catalogue import CATALOGUE

    if folder and not folder.is_dir():
        raise PairError(f"folder {folder} does not exist; name the folder of downloaded benchmarks")
    screen.print(_table(list(CATALOGUE.values()), folder))
    screen.print("\nwhere to get them:")
    for card in CATALOGUE.values():
        hub = f"; with --download from {card.hub} on the hub" if card.hub else ""
        origin = f"{card.home}{hub}{'; ' + card.note if card.note else ''}"
        screen.print(f"[bold]{card.name}[/]: {escape(origin)}", soft_wrap=True)


def _table(cards: "list[BenchmarkCard]", folder: Path | None) -> Table:
    table = Table(Column("benchmark", no_wrap=True), "rows", "arms", "licence")
    if folder:
        table.add_column("present in", overflow="fold")
    for card in cards:
        rows = " or ".join(f"{count:,}" for count in card.rows) or "not fixed"
        cells = (card.name, rows, ", ".join(card.arms), card.licence)
        table.add_row(*map(escape, cells), *([escape(_present(card, folder))] if folder else []))
    return table


def _present(card: "BenchmarkCard", folder: Path) -> str:
    if card.bundled:
        return "bundled"
    found = card.folder_in(folder)
    return str(found.relative_to(folder)) if found else ""


@takes(*LOADING)
def doctor(
    model: Annotated[
        str | None, typer.Argument(help="organism, english, a checkpoint folder or a hub id.")
    ] = None,
    **flags: Any,
) -> None:
    """Check the installation, and that hooks read and write the right states of a model."""
    from regap.analyses.runs.config import read_config
    from regap.analyses.runs.run import runner_of
    from regap.analyses.self_test.checks import check_environment, in_one_line, self_tests, shown_prompt

    config = read_config(model=model, **flags)
    loaded = runner_of(config, config.model).model
    checks = [*check_environment(), *self_tests(loaded)]
    screen.print(_table_of(checks))
    screen.print(f"one prompt as the model reads it:\n{escape(shown_prompt(loaded))}")
    screen.print(escape(in_one_line(checks)))
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


def _table_of(checks: "list[Check]") -> Table:
    table = Table("check", "", "measured")
    for check in checks:
        table.add_row(check.name, "[green]ok[/]" if check.passed else "[red]failed[/]", escape(check.detail))
    return table
