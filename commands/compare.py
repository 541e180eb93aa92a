"""`regap compare`: every method on the same pairs, with the same budgets and judge."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import CAPTURING, progress, screen, settings_of, takes

Methods = Annotated[
    list[str] | None,
    typer.Option("--method", help="Method to compare; repeat for more. All whose arms are there by default."),
]


@takes(
    *CAPTURING,
    "family",
    "contrast",
    "contrast_data",
    "arms",
    "image_arm",
    "layers",
    "strengths",
    "max_new_tokens",
    "false_refusals",
    "judge",
    "seed",
)
def compare(method: Methods = None, **flags: Any) -> None:
    """Compare defences on the same pairs; calibration pairs choose each one's site and strength within one budget."""
    settings = settings_of(flags)
    from regap.analyses.comparison.compare import compare as compare_methods
    from regap.commands.compared import print_comparison
    from regap.figures.gallery import write_figures

    with progress() as track:
        question = compare_methods(settings, tuple(method or ()), track, force=bool(flags["force"]))
    run = Path(settings.out)
    drawn = write_figures(run, only="methods")
    print_comparison(run)
    screen.print(
        f"\ntables: {escape(str(question.folder / 'tables'))}\nfigure: {escape(str(drawn[0]))}",
        soft_wrap=True,
    )
