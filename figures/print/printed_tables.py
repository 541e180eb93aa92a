"""Tables for a paper in LaTeX and Markdown: a row per arm, condition or method, a column per measure."""

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from regap.analyses.runs.records import Record, RunRecords
from regap.analyses.tables.columns import DEGENERATE
from regap.figures.drawing import style
from regap.figures.drawing.style import counted, criteria_of
from regap.figures.opened_run import edited_layers
from regap.figures.plots.methods import titles_of

HIGHER_IS_BETTER = {"attack_success": False, "over_refusal": False, "refusal": True, "utility": True}
SHARES = (*HIGHER_IS_BETTER, *DEGENERATE)
OUTCOMES = ("attack_success", "over_refusal", "utility")
WORDS = {**style.WORDS, "layer": str}
LONG = 40
"""Longest cell without line breaks, in letters."""
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "′": "$'$",
        "–": "--",
        "−": "$-$",
        "α": r"$\alpha$",
        "δ": r"$\delta$",
        "ρ": r"$\rho$",
    }
)


@dataclass(frozen=True)
class TableCell:
    """One estimate as it is printed."""

    text: str
    best: bool = False
    """True if its interval includes the best value of its column."""


@dataclass(frozen=True)
class PrintedTable:
    """A printed table; rows are as long as the headings."""

    name: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str | TableCell, ...], ...]

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError(f"table {self.name!r} has no rows; run the analysis that makes it")
        if any(len(row) != len(self.headings) for row in self.rows):
            raise ValueError(
                f"table {self.name!r}: a row is not as long as the headings; give one cell per heading"
            )


def as_markdown(table: PrintedTable) -> str:
    """The table in Markdown, caption first; the best of a column in bold."""
    lines = [_markdown_row(table.headings), _markdown_row(["---"] * len(table.headings))]
    return "\n".join([f"{table.caption}\n", *lines, *map(_markdown_row, table.rows)]) + "\n"


def as_latex(table: PrintedTable) -> str:
    """The table in LaTeX with booktabs' rules; the best of a column in bold."""
    columns = "".join(_latex_column(table, place) for place in range(len(table.headings)))
    body = [_latex_row(table.headings), r"\midrule", *map(_latex_row, table.rows)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{table.caption.translate(LATEX)}}}",
            rf"\label{{tab:{table.name.replace('_', '-')}}}",
            rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def tables_of(run: RunRecords) -> list[PrintedTable]:
    """Return every printed table that the run has data for."""
    found = []
    for name, make in MAKERS.items():
        if name in run.records:
            found.append(make(run, run.records[name]))
    return found


def estimate(row: Mapping[Any, Any]) -> str:
    """Return a value with its interval; shares in percent, a dash for no value."""
    if row["value"] != row["value"]:
        return "–"
    share = row["measure"] in SHARES
    scale, form = (100, ".1f") if share else (1, ".2f")
    value, low, high = (f"{scale * row[end]:{form}}".replace("-", "−") for end in ("value", "low", "high"))
    unit = " %" if share else ""
    return f"{value}{unit} [{low}, {high}]" if row["low"] == row["low"] else f"{value}{unit}"


def grid(
    table: pd.DataFrame, keys: Sequence[str], measures: Sequence[str], *, bold: bool = False
) -> tuple[tuple[str | TableCell, ...], ...]:
    """Return a row for each combination of the keys, with a cell for each measure.

    bold: mark the best value of a measure among rows that differ only in the last key. Raises ValueError if two rows
    of a measure have the same keys.
    """
    if table.duplicated([*keys, "measure"]).any():
        raise ValueError(f"two rows of the table have the same {', '.join(keys)}; give one row for each")
    rows = []
    for key, of_row in table.groupby(list(keys), sort=False):
        rivals = table
        for name, value in list(zip(keys, key, strict=True))[:-1]:
            rivals = rivals[rivals[name] == value]
        cells = {
            row["measure"]: TableCell(estimate(row), bold and _is_best(row, rivals))
            for row in of_row.to_dict("records")
        }
        words = [html.unescape(WORDS[name](value)) for name, value in zip(keys, key, strict=True)]
        rows.append((*words, *(cells.get(measure, TableCell("–")) for measure in measures)))
    return tuple(rows)


def _is_best(row: Mapping[Any, Any], rivals: pd.DataFrame) -> bool:
    """Return True if the interval of a row includes the best value of its measure among its rivals."""
    if row["measure"] not in HIGHER_IS_BETTER or row["value"] != row["value"]:
        return False
    values = rivals[rivals["measure"] == row["measure"]]["value"]
    best = values.max() if HIGHER_IS_BETTER[row["measure"]] else values.min()
    return bool(row["low"] <= best <= row["high"] or row["value"] == best)


def _table(
    name: str,
    caption: str,
    rows: pd.DataFrame,
    keys: Sequence[str],
    measures: Sequence[str],
    *,
    bold: bool = False,
) -> PrintedTable:
    """Return a table of estimates; a single model or arm is named in the caption and not in a column."""
    single = [key for key in ("model", "arm") if key in keys[:-1] and rows[key].nunique() == 1]
    keys = [key for key in keys if key not in single]
    only = "".join(f"; {key} {html.unescape(WORDS[key](rows[key].iloc[0]))}" for key in single)
    return PrintedTable(
        name,
        f"{caption}; 95 % intervals{only}; {counted(rows['n'], 'prompts')}.",
        (*keys, *(style.short(measure) for measure in measures)),
        grid(rows, keys, measures, bold=bold),
    )


def _separability(run: RunRecords, record: Record) -> PrintedTable:
    """Return every arm at the reported layer, and corrected arms, with and without correction, after the edit."""
    table = record.where(direction="refusal")
    deepest = table.groupby("model")["layer"].transform("max")
    chosen = deepest if run.summary.layer is None else deepest.clip(upper=run.summary.layer)
    edited = edited_layers(run.summary)
    after = deepest.clip(upper=edited[-1] + 1) if edited else deepest
    plain = table["condition"].isin(("none", "baseline"))
    arms = pd.MultiIndex.from_frame(table[["model", "arm"]])
    compared = arms.isin(arms[~plain])
    rows = table[(plain & (table["layer"] == chosen)) | (compared & (table["layer"] == after))]
    caption = "Separability of harmful and harmless prompts along the refusal direction"
    caption += f" at layer {_listed(chosen)} (0-based)"
    if not plain.all():
        past = f", after the edited layer {_listed(edited)}" if edited else ""
        caption += f", and with and without correction at layer {_listed(after[compared])}{past}"
    keys = ("model", "layer", "arm", "condition")
    measures = style.ordered(rows["measure"], ("d_prime", "auroc", "usable", "gap"))
    return _table("separability", caption, rows.sort_values("layer", kind="stable"), keys, measures)


def _listed(layers: Iterable[int]) -> str:
    return " and ".join(str(layer) for layer in sorted(set(layers)))


def _outcomes(_: RunRecords, record: Record) -> PrintedTable:
    rows = record.table[record.table["measure"].isin(OUTCOMES)]
    return _table("outcomes", "Outcomes", rows, ("model", "arm", "condition"), OUTCOMES)


def _methods(run: RunRecords, record: Record) -> PrintedTable:
    titles = titles_of(run.records.get("method_settings"))
    rows = record.table[record.table["measure"].isin(OUTCOMES)]
    rows = rows.assign(method=[html.unescape(titles.get(name) or name) for name in rows["method"]])
    caption = (
        "Methods under the same rules; bold: the best of a column, and values whose interval includes it"
    )
    return _table("methods", caption, rows, ("model", "arm", "method"), OUTCOMES, bold=True)


def _claims(_: RunRecords, record: Record) -> PrintedTable:
    rows = tuple((str(row.title), str(row.verdict), str(row.evidence)) for row in record.table.itertuples())
    return PrintedTable(
        "claims",
        f"The claims of the abstract (arXiv 2605.18104) and what this run found. {criteria_of(record.table)}",
        ("claim", "verdict", "evidence"),
        rows,
    )


MAKERS: dict[str, Callable[[RunRecords, Record], PrintedTable]] = {
    "claims": _claims,
    "separability": _separability,
    "outcomes": _outcomes,
    "methods": _methods,
}


def _latex_column(table: PrintedTable, place: int) -> str:
    """Return the column type: numbers right-aligned, names left-aligned, sentences wrapped."""
    cells = [row[place] for row in table.rows]
    if isinstance(cells[0], TableCell):
        return "r"
    longest = max(len(str(cell)) for cell in cells)
    return "l" if longest < LONG else rf"p{{{0.25 if longest < 4 * LONG else 0.55}\linewidth}}"


def _markdown_row(cells: Sequence[str | TableCell]) -> str:
    return "| " + " | ".join(map(_markdown, cells)) + " |"


def _markdown(cell: str | TableCell) -> str:
    text = cell.text if isinstance(cell, TableCell) else cell
    plain = text.replace("\\", "\\\\").replace("|", r"\|").replace("\n", " ").replace("<", "&lt;")
    plain = plain.replace("](", r"]\(")  # no link, and no picture that is fetched
    return f"**{plain}**" if isinstance(cell, TableCell) and cell.best else plain


def _latex_row(cells: Sequence[str | TableCell]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(cell: str | TableCell) -> str:
    text = (cell.text if isinstance(cell, TableCell) else cell).replace("\n", " ").translate(LATEX)
    return rf"\textbf{{{text}}}" if isinstance(cell, TableCell) and cell.best else text
