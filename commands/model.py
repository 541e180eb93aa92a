"""`regap doctor`: check installation and model before a run."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from regap.commands.options import LOADING, screen, takes

if TYPE_CHECKING:
    from regap.analyses.self_test.comparison import Check


@takes(*LOADING)
def doctor(
    model: Annotated[str | None, typer.Argument(help="organism, a checkpoint folder or a hub id.")] = None,
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
