"""`regap benchmarks`: the supported benchmarks, their sources, and which of them are in a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from regap.commands.options import screen

if TYPE_CHECKING:
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
        screen.print(f"[bold]{card.name}[/]: {escape(_origin(card))}", soft_wrap=True)


def _table(cards: "list[BenchmarkCard]", folder: Path | None) -> Table:
    table = Table(Column("benchmark", no_wrap=True), "rows", "arms", "licence")
    if folder:
        table.add_column("present in", overflow="fold")
    for card in cards:
        rows = " or ".join(f"{count:,}" for count in card.rows) or "not fixed"
        cells = (card.name, rows, ", ".join(card.arms), card.licence)
        table.add_row(*map(escape, cells), *([escape(_present(card, folder))] if folder else []))
    return table


def _origin(card: "BenchmarkCard") -> str:
    hub = f"; with --download from {card.hub} on the hub" if card.hub else ""
    return f"{card.home}{hub}{'; ' + card.note if card.note else ''}"


def _present(card: "BenchmarkCard", folder: Path) -> str:
    if card.bundled:
        return "bundled"
    found = card.folder_in(folder)
    return str(found.relative_to(folder)) if found else ""
