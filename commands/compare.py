"""`regap compare`: every method on the same pairs, with the same budgets and judge."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from regap.commands.options import (
    ANSWERING,
    CAPTURING,
    Within,
    print_note,
    print_notes,
    progress,
    screen,
    settings_of,
    takes,
    wide,
)

if TYPE_CHECKING:
    import pandas as pd

Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="Method to compare; repeat for more. By default all methods whose arms are available.",
    ),
]

Where = Annotated[
    str,
    typer.Option(
        "--positions",
        help="Where methods that edit one layer may act: last, image or last,image; image tokens take far longer.",
    ),
]


@takes(*CAPTURING, *ANSWERING, "contrast", "contrast_data")
def compare(method: Methods = None, positions: Where = "last", within: Within = None, **flags: Any) -> None:
    """Compare defences on the same pairs, with sites and strengths chosen on calibration pairs within one budget."""
    settings = settings_of(flags)
    from regap.analyses.calibration.budgets import read_budgets
    from regap.analyses.comparison.compare import compare as compare_methods
    from regap.figures.gallery import write_figures

    with progress() as track:
        asked, force = tuple(method or ()), bool(flags["force"])
        budgets = read_budgets(within) if within else None
        question = compare_methods(settings, asked, track, force=force, positions=positions, within=budgets)
    run = Path(settings.out)
    drawn = write_figures(run, only="methods")
    print_comparison(run)
    screen.print(
        f"\ntables: {escape(str(question.folder / 'tables'))}\nfigure: {escape(str(drawn[0]))}",
        soft_wrap=True,
    )


HEADS = {
    "attack_success": "attack success %",
    "over_refusal": "over-refusal %",
    "contrast_over_refusal": "on contrasts %",
    "utility": "utility %",
}
LEGEND = (
    "p: attack success against no defence, exact McNemar test, after Holm's correction; not seen below: where that is\n"
    "0.05 or more, the smallest change, in points, that would have been found with 80 % power at 5 % before correction"
)
HALF_UP = 1e-9
"""Added to a percentage so that a half is rounded up; Python rounds it to the even number."""
PER_TABLE = 5
"""Most categories in one printed table."""


def print_comparison(folder: Path) -> None:
    """Print the tables of a comparison for each model, with notes on what was left out."""
    from regap.analyses.runs.records import Record

    console = wide(178)
    names = ("methods", "method_settings", "method_times", "methods_by_category")
    tables = {name: Record.load(folder, name).table for name in names}
    for model in tables["methods"]["model"].unique():
        outcomes, settings, times, shares = (each[each["model"] == model] for each in tables.values())
        console.print(f"[bold]{escape(model)}[/]", _outcomes(outcomes, settings, times), LEGEND, sep="\n")
        titles = dict(zip(settings["method"], settings["title"], strict=True))
        for table in _categories(shares, titles):
            console.print("", table)
    _print_left_out(folder)


def _outcomes(outcomes: "pd.DataFrame", settings: "pd.DataFrame", times: "pd.DataFrame") -> Table:
    seconds = times.set_index("method")["time"]
    measures = [measure for measure in HEADS if measure in set(outcomes["measure"])]
    heads = [HEADS[measure] for measure in measures]
    table = Table(
        *("method", *heads, "p", "not seen below", "layer", "strength", "also runs", "time"),
        box=None,
        pad_edge=False,
    )
    for row in settings.to_dict("records"):
        found = outcomes[outcomes["method"] == row["method"]].set_index("measure")
        attack: Any = found.loc["attack_success"]
        shares = [share(found.loc[measure]) for measure in measures]
        cells = [str(row["title"]), *shares, *tested(attack), *_acts(row), also_runs(row)]
        table.add_row(*map(escape, cells), f"{seconds[row['method']]:.2f} x")
    return table


def share(row: Any) -> str:
    """Return a share with its interval, in percent."""
    value, low, high = (f"{100 * row[name] + HALF_UP:.0f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def tested(row: Any) -> tuple[str, str]:
    """Return the corrected p-value and, if it is not significant, the smallest detectable change, in points."""
    p, detectable = row["p_holm"], row["detectable"]
    if p != p:
        return "", ""
    if p < 0.05:
        return f"{p:.2g}", ""
    return f"{p:.2g}", "any" if math.isinf(detectable) else f"{100 * detectable:.1f}"


def _acts(row: dict[Any, Any]) -> list[str]:
    layers, *rest = str(row["site"]).removeprefix("layers ").split(" / ")
    many = layers.count(",")
    place = "" if layers == "nowhere" else "all" if many > 1 else layers.replace(",", "-")
    place += f" {rest[0]}" if rest and rest[0] in ("image", "audio") else ""
    return [place, f"{row['strength']:g}" if row["strength"] else ""]


def also_runs(row: dict[Any, Any]) -> str:
    """Return what a method runs for each input besides the final answer."""
    parts = [str(row["looks_at"])] if row["looks_at"] else []
    parts += [f"{row['readings']} x last token"] if row["readings"] else []
    again = row["passes"] - len(str(row["looks_at"] or "").replace(",", "").split())
    parts += [f"{again} x prompt"] if again else []
    parts += [str(row["writes"])] if row["writes"] else []
    told = " + ".join(parts)
    return f"{told} ({row['answers']:.2f} answers)" if row["answers"] else told


def _categories(shares: "pd.DataFrame", titles: dict[str, str]) -> list[Table]:
    """Return tables of attack success by category, and of refusals of contrasts by category if there are any."""
    tables = []
    for measure in ("attack_success", "contrast_over_refusal"):
        rows = shares[shares["measure"] == measure]
        names = sorted(set(rows["category"]))
        for start in range(0, len(names), PER_TABLE):
            tables.append(_category_table(rows, names[start : start + PER_TABLE], titles, HEADS[measure]))
    return tables


def _category_table(rows: "pd.DataFrame", names: Sequence[str], titles: dict[str, str], head: str) -> Table:
    counts = rows.groupby("category")["n"].max()
    heads = [escape(f"{name}, n = {counts[name]}") for name in names]
    table = Table(head, *heads, box=None, pad_edge=False)
    for method, title in titles.items():
        found = rows[rows["method"] == method].set_index("category")
        table.add_row(
            *map(escape, [title, *(share(found.loc[name]) if name in found.index else "" for name in names)])
        )
    return table


def _print_left_out(folder: Path) -> None:
    from regap.analyses.runs.records import Record, table_path

    print_notes(folder)
    if not table_path(folder, "method_gaps").is_file():
        return
    for row in Record.load(folder, "method_gaps").table.to_dict("records"):
        print_note(f"{row['method']} is left out on {row['model']}: {row['reason']}")
