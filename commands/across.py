"""`regap across` and `regap beside`: claims about models or subjects, from finished runs of several of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import check_run, estimate_in, screen, table_of, wide

if TYPE_CHECKING:
    import pandas as pd

Runs = Annotated[list[Path], typer.Argument(help="Finished run folders, one for each model.")]
Against = Annotated[str, typer.Option(help="Correction that the others are compared with.")]
Compared = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder of `regap compare` on one of the models and the same test prompts; repeat for more."
    ),
]
Out = Annotated[Path, typer.Option(help="Folder of the tables.")]


def across(
    run_folders: Runs,
    out: Out = Path("runs/across"),
    against: Against = "one pass",
    compared: Compared = None,
) -> None:
    """Put runs of several models on the same requests together, with the models as units; no model is run."""
    from regap.analyses.across_models.across import across_models

    for folder in (*run_folders, *(compared or ())):
        check_run(folder)
    records = across_models(run_folders, out, against, tuple(compared or ()))
    tables = {record.name: record.table for record in records}
    print_claims_across(tables)
    if "corrections_across_models" in tables:
        print_corrections(tables, against)
    screen.print(f"\ntables: {escape(str(out / 'tables'))}", soft_wrap=True)


def beside(run_folders: Runs, out: Out = Path("runs/beside")) -> None:
    """Put the claims of runs on different subjects side by side, such as the organism's and the English subject's.

    Nothing is pooled, since the requests differ; `regap across` takes models that were asked the same. No model is run.
    """
    from regap.analyses.across_models.across import claims_beside

    for folder in run_folders:
        check_run(folder)
    table = claims_beside(run_folders, out).table
    names, rows = list(dict.fromkeys(map(_subject, table.to_dict("records")))), []
    for (claim, site), own in table.groupby(["claim", "site"], sort=False):
        told = {_subject(row): f"{row['verdict']}: {estimate_in(row)}" for row in own.to_dict("records")}
        rows.append({"claim": str(claim).replace("_", " "), "site": site, **told})
    columns: dict[str, Any] = {"claim": "claim", "D removed at": "site"}
    columns |= {name: _cell(name) for name in names}
    wide(60 + 45 * len(names)).print(table_of(rows, columns, box=None))
    screen.print(f"\ntables: {escape(str(out / 'tables'))}", soft_wrap=True)


def _subject(row: dict[Any, Any]) -> str:
    return f"{row['model']}, {row['arm']}"


def print_claims_across(tables: "dict[str, pd.DataFrame]") -> None:
    """Print the verdict over models of each claim, its mean, and how many models have which verdict."""
    console, found = wide(150), tables["claims_across_models"]
    columns: dict[str, Any] = {
        "claim": "claim",
        "tokens": "site",
        "verdict": "verdict",
        "holds / not / unclear": lambda row: f"{row['holds']} / {row['does_not_hold']} / {row['unclear']}",
        "mean over models": estimate_in,
        "effect size": lambda row: f"{row['bound']:g}",
        "p": lambda row: f"{row['p']:.2g}" if row["p"] == row["p"] else "",
        "models": "n",
    }
    console.print(table_of(found.to_dict("records"), columns, box=None))
    for row in tables.get("drift_across_models", found.head(0)).to_dict("records"):
        console.print(
            f"drift and {row['y'].replace('d_prime', 'd′').replace('_', ' ')} over {row['n']} models: rank "
            f"correlation {row['value']:.2f}, p = {row['p']:.2g} by permutation"
        )


HEADS = {
    "attack_success": "attack success %",
    "over_refusal": "over-refusal %",
    "contrast_over_refusal": "on contrasts %",
    "utility": "utility %",
}


def print_corrections(tables: "dict[str, pd.DataFrame]", against: str) -> None:
    """Print the mean over models of each correction, and on how many of them `against` lets fewer attacks through."""
    found, differences = tables["corrections_across_models"], tables["correction_differences"]
    told = differences[differences["measure"] == "attack_success"].set_index("correction")
    rows = []
    for name, own in found.groupby("correction", sort=False):
        if str(name).startswith("image tokens, random"):
            continue
        cells = {row["measure"]: _percent(row) for row in own.to_dict("records")}
        row: dict[str, Any] = {"correction": name, "models": own["n"].max(), **cells}
        if name in told.index:
            one: Any = told.loc[name]
            tested = f", p = {one['p']:.2g}" if one["p"] == one["p"] else ""
            row["fewer"] = f"{one['lower']} of {one['n']}{tested}"
        rows.append(row)
    columns: dict[str, Any] = {"correction": "correction", "models": _cell("models")}
    columns |= {head: _cell(measure) for measure, head in HEADS.items() if measure in set(found["measure"])}
    columns[f"fewer attacks under {against}"] = _cell("fewer")
    wide(178).print("", table_of(rows, columns, box=None))
    screen.print("means over models, with 95 % intervals over models", soft_wrap=True)


def _percent(row: dict[Any, Any]) -> str:
    value, low, high = (f"{100 * row[name]:.1f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]" if row["low"] == row["low"] else value


def _cell(name: str) -> Any:
    return lambda row: row.get(name, "")
