"""`regap doctor`: what is asked of a model before a run."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from regap.analyses.commands.options import Device, Download, Dtype, screen

if TYPE_CHECKING:
    from regap.analyses.doctor import Check


def doctor(
    model: Annotated[str | None, typer.Argument(help="organism, a checkpoint folder or a hub id.")] = None,
    device: Device = None,
    dtype: Dtype = None,
    download: Download = None,
) -> None:
    """Check the installation and, on a model, that hooks read and write what they say."""
    from regap.analyses.doctor import check_environment, check_model, shown_prompt
    from regap.geometry.models import load

    checks = check_environment()
    loaded = load(
        model or "organism", device=device or "cpu", dtype=dtype or "float32", download=bool(download)
    )
    checks += check_model(loaded)
    screen.print(_table_of(checks))
    screen.print(f"one image prompt as the model reads it:\n{escape(shown_prompt(loaded))}")
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


def _table_of(checks: "list[Check]") -> Table:
    table = Table("check", "", "measured")
    for check in checks:
        table.add_row(check.name, "[green]ok[/]" if check.passed else "[red]failed[/]", escape(check.detail))
    return table
