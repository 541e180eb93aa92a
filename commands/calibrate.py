"""`regap calibrate`: choose ReGap's recipe on calibration pairs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from regap.commands.options import CAPTURING, progress, run_of, screen, takes, wide

if TYPE_CHECKING:
    from regap.analyses.calibration.recipes import CalibratedRecipe

RunOrNone = Annotated[
    Path | None,
    typer.Argument(help="A run folder whose settings and pairs are used; or give --model."),
]
HeldOut = Annotated[
    bool,
    typer.Option("--held-out", help="Then test the chosen corrections once on test pairs, by whole answers."),
]


@takes(*CAPTURING, "image_arm", "false_refusals", "confidence", "signal", "strengths", "layers", "seed")
def calibrate(
    run: RunOrNone = None,
    held_out: HeldOut = False,
    **flags: Any,
) -> None:
    """Choose ReGap's recipe on calibration pairs, within a budget of false refusals; write a table of all recipes."""
    from regap.analyses.calibration.recipes import calibrate_run

    recipe = {name: flags[name] for name in ("false_refusals", "confidence", "signal")}
    settled = {name: value for name, value in flags.items() if name not in recipe}
    with progress() as track:
        opened = run_of(run, settled if run else flags, track)
        found = calibrate_run(opened, held_out=held_out, **recipe)
    choice = found.calibrated.choice
    table = Table("reads", "passes", "best recipe", "refused %", "of harmless %", box=None, pad_edge=False)
    kinds = {(one.recipe.signal, one.recipe.passes): one for one in reversed(choice.trials)}
    for (kind, passes), one in sorted(kinds.items(), key=lambda each: -each[1].on_harmful):
        shares = (f"{100 * share:.1f}" for share in (one.on_harmful, one.on_harmless))
        table.add_row(kind, passes, str(one.recipe).partition("; ")[0], *shares)
    wide(110).print(table)
    screen.print(f"\n[bold]chosen:[/] {escape(choice.why)}", soft_wrap=True)
    fixed = found.calibrated.fixed
    screen.print(
        f"best fixed strength: {fixed.strength:g} {fixed.name} at block {fixed.site.layers[0]}: "
        f"{found.fixed_refusal:.1%} of harmful calibration images refused at "
        f"{found.fixed_over_refusal:.1%} of harmless ones",
        soft_wrap=True,
    )
    screen.print(f"false refusals: {escape(guarantee_in(found))}", soft_wrap=True)
    if found.claim:
        screen.print(
            f"held out: [bold]{found.claim.verdict}[/]: {escape(found.claim.evidence)}", soft_wrap=True
        )
    path = found.question.folder / "tables" / "recipes.parquet"
    screen.print(f"all {len(choice.trials)} recipes: {escape(str(path))}", soft_wrap=True)
    if run:
        screen.print("the correction of the run is not changed; use `regap run --false-refusals` for that")


def guarantee_in(found: "CalibratedRecipe") -> str:
    """Return what is known of the share of false refusals."""
    from regap.analyses.calibration.guarantee import prompts_needed

    if found.calibrated.guarantee:
        return str(found.calibrated.guarantee)
    budget = found.calibrated.choice.budget
    return (
        f"within {budget:.1%} only on the prompts that chose the recipe, which guarantees nothing; --confidence 0.9 "
        f"sets the threshold on others; it takes {2 * prompts_needed(budget, 0.9)} harmless calibration prompts or more"
    )
