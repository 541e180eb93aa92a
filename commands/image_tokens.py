"""`regap image-tokens`: remove the drift where it enters, at the tokens of the image."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import (
    CAPTURING,
    Again,
    Within,
    print_claims,
    print_note,
    progress,
    run_of,
    screen,
    table_of,
    takes,
    wide,
)

if TYPE_CHECKING:
    import pandas as pd

Blocks = Annotated[
    str | None, typer.Option("--layers", help="Blocks to try, such as 0-4; by default the first half.")
]
Random = Annotated[int, typer.Option(help="Number of random vectors, as a control.", min=1)]
Contrast = Annotated[
    str | None,
    typer.Option(help="Harmless prompts that look harmful: a benchmark, or `world` for the organism's own."),
]
Variants = Annotated[
    bool,
    typer.Option(
        "--variants",
        help="Also remove other displacements than the drift: by place, by label, of blank images, of captions, of "
        "another arm or block; and map the spread of image tokens.",
    ),
]
Another = Annotated[
    list[Path] | None,
    typer.Option(
        help="Finished run of another model of the same shape: its drift is removed here too. Repeat it for several."
    ),
]
HEADS = {
    "attack_success": "attack success %",
    "over_refusal": "over-refusal %",
    "contrast_over_refusal": "on contrasts %",
    "utility": "utility %",
    "auroc_z": "AUROC of z",
    "auroc_rho": "AUROC of rho",
}


@takes(*CAPTURING, "arms", "image_arm", "max_new_tokens", "false_refusals", "seed")
def image_tokens(
    run_folder: Again = None,
    layers: Blocks = None,
    random: Random = 20,
    contrast: Contrast = None,
    within: Within = None,
    variants: Variants = False,
    another: Another = None,
    **flags: Any,
) -> None:
    """Remove the drift at the image's own tokens, alone and with a gate at the last token, beside controls."""
    from regap.analyses.ablation.layer_sweep import check_doses
    from regap.analyses.calibration.budgets import read_budgets
    from regap.analyses.image_tokens.measure import image_tokens_run
    from regap.analyses.runs.records import Record
    from regap.analyses.runs.run import open_run
    from regap.analyses.runs.written_settings import read_layers

    chosen = read_layers(layers) if layers else ()
    budgets = read_budgets(within) if within else None
    others = [open_run(folder) for folder in another or ()]
    with progress() as track:
        run = run_of(run_folder, flags, track, lambda model: check_doses((), chosen, model))
        question = image_tokens_run(
            run,
            layers=chosen,
            random=random,
            contrast=contrast,
            within=budgets,
            variants=variants,
            another=others,
        )
    print_image_tokens(Record.load(question.folder, "image_tokens").table)
    if variants:
        print_left_out(Record.load(question.folder, "image_token_variants").table)
    print_claims(question.folder, "image_token_claims")
    screen.print(
        f"\ntable: {escape(str(question.folder / 'tables' / 'image_tokens.parquet'))}", soft_wrap=True
    )
    screen.print(f"corrections: {', '.join(question.edits)}", soft_wrap=True)
    screen.print(
        f"take one along: regap pack {escape(str(run.folder))} --method one-pass --out FOLDER", soft_wrap=True
    )


def print_image_tokens(table: "pd.DataFrame") -> None:
    """Print one row a condition; random vectors are summarised by their range."""
    console = wide(178)
    keys = ["arm", "condition", "layer", "alpha"]
    random = table["vector"].str.startswith("random")
    rows = [_row(key, own) for key, own in table[~random].groupby(keys, sort=False)]
    for key, own in table[random].groupby(["arm", "layer", "alpha"], sort=False):
        arm, layer, alpha = key
        count = own["vector"].nunique()
        rows.append(
            {"arm": arm, "condition": f"{count} random vectors", "layer": layer, "alpha": alpha}
            | {measure: _range(each["value"], measure) for measure, each in own.groupby("measure")}
        )
    measures = [measure for measure in HEADS if any(measure in row for row in rows)]
    columns: dict[str, Any] = {"arm": "arm", "condition": "condition", "block": _block, "strength": _strength}
    columns |= {HEADS[measure]: _cell(measure) for measure in measures}
    console.print(table_of(rows, columns, box=None))
    console.print("random vectors: lowest to highest value; other intervals: 95 %")


def print_left_out(variants: "pd.DataFrame") -> None:
    """Print the variants that this run could not make, and why."""
    for row in variants[variants["reason"] != ""].to_dict("records"):
        print_note(f"{row['vector']} left out: {row['reason']}")


def _row(key: Any, own: "pd.DataFrame") -> dict[str, Any]:
    found = dict(zip(("arm", "condition", "layer", "alpha"), key, strict=True))
    return found | {row["measure"]: _estimate(row) for row in own.to_dict("records")}


def _estimate(row: dict[Any, Any]) -> str:
    scale, form = (1, ".3f") if row["measure"].startswith("auroc") else (100, ".1f")
    value, low, high = (f"{scale * row[name]:{form}}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]" if row["low"] == row["low"] else value


def _range(values: "pd.Series[float]", measure: Any) -> str:
    scale, form = (1, ".3f") if measure.startswith("auroc") else (100, ".1f")
    return f"{scale * values.min():{form}} to {scale * values.max():{form}}"


def _block(row: dict[str, Any]) -> str:
    return str(row["layer"]) if row["layer"] >= 0 else ""


def _strength(row: dict[str, Any]) -> str:
    return f"{row['alpha']:g}" if row["layer"] >= 0 else ""


def _cell(measure: str) -> Any:
    return lambda row: row.get(measure, "")
