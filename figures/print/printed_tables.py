"""The tables of a paper: a row per arm, condition or method, a column per measure, in LaTeX and in Markdown."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from regap.analyses.runs.records import Record, RunRecords
from regap.figures.drawing import style
from regap.figures.drawing.wording import counted
from regap.figures.methods import NAMES

HIGHER_IS_BETTER = {"attack_success": False, "over_refusal": False, "refusal": True, "utility": True}
SHARES = (*HIGHER_IS_BETTER, "degenerate_harmful", "degenerate_harmless", "not_judged")
LONG = 40
"""Letters beyond which a cell is broken into lines."""
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
    """Whether its interval reaches the best value of its column."""


@dataclass(frozen=True)
class PrintedTable:
    """A table as it is printed; rows are as long as the headings."""

    name: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str | TableCell, ...], ...]

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError(f"table {self.name!r} has no rows; run the analysis that makes it")
        if any(len(row) != len(self.headings) for row in self.rows):
            raise ValueError(f"table {self.name!r}: a row is not as long as the headings")


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
    """Every table that the run has the numbers for."""
    found = []
    for name, make in MAKERS.items():
        if name in run.records:
            found.append(make(run, run.records[name]))
    return found


def estimate(row: "pd.Series") -> str:
    """A value with its interval; shares in percent, a dash where there is no value."""
    if row["value"] != row["value"]:
        return "–"
    share = row["measure"] in SHARES
    scale, form = (100, ".1f") if share else (1, ".2f")
    value, low, high = (f"{scale * row[end]:{form}}".replace("-", "−") for end in ("value", "low", "high"))
    unit = " %" if share else ""
    return f"{value}{unit} [{low}, {high}]" if row["low"] == row["low"] else f"{value}{unit}"


def grid(
    table: pd.DataFrame, names: Sequence[str], measures: Sequence[str], told: dict[str, Callable[[str], str]]
) -> tuple[tuple[str | TableCell, ...], ...]:
    """A row for each combination of the names, a cell for each measure; the best of each measure is marked."""
    rows = []
    for key, of_row in table.groupby(list(names), sort=False):
        by_measure = of_row.set_index("measure")
        cells = [
            _cell(by_measure.loc[measure], measure, table) if measure in by_measure.index else TableCell("–")
            for measure in measures
        ]
        said = [html.unescape(told[name](value)) for name, value in zip(names, key, strict=True)]
        rows.append((*said, *cells))
    return tuple(rows)


def _cell(row: "pd.Series", measure: str, table: pd.DataFrame) -> TableCell:
    row = row.copy()
    row["measure"] = measure
    if measure not in HIGHER_IS_BETTER or row["value"] != row["value"]:
        return TableCell(estimate(row))
    values = table[table["measure"] == measure]["value"]
    best = values.max() if HIGHER_IS_BETTER[measure] else values.min()
    return TableCell(estimate(row), bool(row["low"] <= best <= row["high"] or row["value"] == best))


def _separability(run: RunRecords, record: Record) -> PrintedTable:
    layer = run.summary.layer
    chosen = record.table["layer"].max() if layer is None else layer
    rows = record.where(layer=chosen, direction="refusal")
    measures = style.ordered(rows["measure"], ("d_prime", "auroc", "usable", "gap"))
    told = {"arm": style.arm_label, "condition": lambda name: style.CONDITIONS.get(name, (name,))[0]}
    return PrintedTable(
        "separability",
        f"Separability of harmful and harmless along the refusal direction at layer {chosen} (0-based), "
        f"95 % intervals; {counted(rows['n'], 'prompts')}.",
        ("arm", "condition", *(style.short(measure) for measure in measures)),
        grid(rows, ("arm", "condition"), measures, told),
    )


def _outcomes(_: RunRecords, record: Record) -> PrintedTable:
    measures = ("attack_success", "over_refusal", "utility")
    told = {
        "model": str,
        "arm": style.arm_label,
        "condition": lambda name: style.CONDITIONS.get(name, (name,))[0],
    }
    rows = record.table[record.table["measure"].isin(measures)]
    found = PrintedTable(
        "outcomes",
        f"Outcomes with 95 % intervals; {counted(rows['n'], 'prompts')}.",
        ("model", "arm", "condition", *(style.short(measure) for measure in measures)),
        grid(rows, ("model", "arm", "condition"), measures, told),
    )
    return _unmarked(found)


def _methods(_: RunRecords, record: Record) -> PrintedTable:
    measures = ("attack_success", "over_refusal", "utility")
    rows = record.table[record.table["measure"].isin(measures)]
    return PrintedTable(
        "methods",
        "Methods under the same rules, 95 % intervals; bold: the best of a column, and those whose interval "
        f"reaches it; {counted(rows['n'], 'prompts')}.",
        ("method", *(style.short(measure) for measure in measures)),
        grid(rows, ("method",), measures, {"method": lambda name: NAMES.get(name, name)}),
    )


def _claims(_: RunRecords, record: Record) -> PrintedTable:
    rows = tuple((row.title, row.verdict, row.evidence) for row in record.table.itertuples())
    return PrintedTable(
        "claims",
        "The claims of the abstract (arXiv 2605.18104) and what this run found; criteria written beforehand.",
        ("claim", "verdict", "evidence"),
        tuple((str(title), str(verdict), str(evidence)) for title, verdict, evidence in rows),
    )


MAKERS: dict[str, Callable[[RunRecords, Record], PrintedTable]] = {
    "claims": _claims,
    "separability": _separability,
    "outcomes": _outcomes,
    "methods": _methods,
}


def _unmarked(table: PrintedTable) -> PrintedTable:
    """Without a best: over arms that ask different things there is none."""
    rows = tuple(
        tuple(TableCell(cell.text) if isinstance(cell, TableCell) else cell for cell in row)
        for row in table.rows
    )
    return replace(table, rows=rows)


def _latex_column(table: PrintedTable, place: int) -> str:
    """Numbers stand at the right, names at the left, and sentences are broken into lines."""
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
    return f"**{plain}**" if isinstance(cell, TableCell) and cell.best else plain


def _latex_row(cells: Sequence[str | TableCell]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(cell: str | TableCell) -> str:
    text = (cell.text if isinstance(cell, TableCell) else cell).replace("\n", " ").translate(LATEX)
    return rf"\textbf{{{text}}}" if isinstance(cell, TableCell) and cell.best else text
