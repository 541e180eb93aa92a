"""Tables say each number with its interval, mark the best, and never let data become markup."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from regap.analyses.runs.folder import write_json
from regap.analyses.runs.records import Record, RunRecords
from regap.figures.drawing.style import criteria_of
from regap.figures.print.printed_tables import PrintedTable, TableCell, as_latex, as_markdown, grid, tables_of


def rows(values: dict[str, tuple[float, float, float]], measure: str) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": name, "measure": measure, "value": value, "low": low, "high": high, "n": 40}
            for name, (value, low, high) in values.items()
        ]
    )


def cells(values: dict[str, tuple[float, float, float]], measure: str) -> dict[str, TableCell]:
    found = grid(rows(values, measure), ("method",), (measure,), bold=True)
    return {str(row[0]): row[1] for row in found if isinstance(row[1], TableCell)}


def test_the_best_is_marked_and_whatever_its_interval_reaches() -> None:
    values = {"a": (0.1, 0.05, 0.15), "b": (0.14, 0.08, 0.2), "c": (0.4, 0.3, 0.5)}
    assert {name: cell.best for name, cell in cells(values, "attack_success").items()} == {
        "a": True,
        "b": True,
        "c": False,
    }
    assert {name: cell.best for name, cell in cells(values, "utility").items()} == {
        "a": False,
        "b": False,
        "c": True,
    }


def test_a_measure_without_a_better_end_has_no_best() -> None:
    assert not any(cell.best for cell in cells({"a": (0.1, 0.0, 0.2)}, "gap").values())


def test_shares_are_percent_and_what_is_unknown_is_a_dash() -> None:
    nan = float("nan")
    found = cells({"a": (0.125, 0.1, 0.15), "b": (nan, nan, nan), "c": (0.5, nan, nan)}, "utility")
    assert [found[name].text for name in "abc"] == ["12.5 % [10.0, 15.0]", "–", "50.0 %"]
    assert cells({"a": (-1.234, -2, 0)}, "gap")["a"].text == "−1.23 [−2.00, 0.00]"


EVIL = r"<script>|50%_a & {b} \input{x}"
TABLE = PrintedTable("odd", "About 50 % of #1", ("name", "share"), ((EVIL, TableCell("5.0 %", best=True)),))


def test_latex_is_escaped_and_has_the_rules_of_booktabs() -> None:
    found = as_latex(TABLE)
    assert r"<script>|50\%\_a \& \{b\} \textbackslash{}input\{x\} & \textbf{5.0 \%} \\" in found
    assert r"\begin{tabular}{@{}lr@{}}" in found and r"\caption{About 50 \% of \#1}" in found
    assert [found.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_sentences_are_broken_into_lines_in_latex() -> None:
    table = PrintedTable("claims", "c", ("claim", "evidence"), (("a" * 50, "b" * 400),))
    assert r"{@{}p{0.25\linewidth}p{0.55\linewidth}@{}}" in as_latex(table)


def test_markdown_is_escaped() -> None:
    found = as_markdown(TABLE)
    assert r"&lt;script>\|50%" in found and "**5.0 %**" in found
    assert found.splitlines()[3] == "| --- | --- |"
    linked = as_markdown(replace(TABLE, rows=(("![a](https://a.example/b.png)", "[c](javascript:d)"),)))
    assert "](" not in linked and r"![a]\(https" in linked


def test_a_run_has_a_table_for_each_record_that_has_one(planted_run: Path) -> None:
    found = {table.name: table for table in tables_of(RunRecords.load(planted_run))}
    assert list(found) == ["claims", "separability", "outcomes"]
    assert "at layer 1 (0-based)" in found["separability"].caption
    first = found["separability"].rows[0]
    assert first[:3] == ("1", "text", "no correction")
    assert isinstance(first[3], TableCell) and first[3].text == "1.00 [0.88, 1.12]"


def test_corrected_rows_are_read_after_the_edited_layer_beside_uncorrected_ones(
    run_folder: Path, planted: Any
) -> None:
    table = planted("separability").table
    changed = (table["condition"] == "regap") & (table["layer"] == 2)
    for end in ("value", "low", "high"):
        table.loc[changed, end] += 7.0
    Record("separability", table).save(run_folder)
    summary = json.loads((run_folder / "summary.json").read_text())
    site = {"layers": [1], "positions": "last"}
    write_json(run_folder / "summary.json", {**summary, "layer": 1, "regap": {"site": site}})
    found = {table.name: table for table in tables_of(RunRecords.load(run_folder))}["separability"]
    assert found.headings[:3] == ("layer", "arm", "condition")
    said = {row[:3]: row[3].text.split()[0] for row in found.rows if isinstance(row[3], TableCell)}
    assert said[("2", "text", "no correction")] == "2.00" and said[("2", "text", "ReGap")] == "9.00"
    assert said[("1", "text", "no correction")] == "1.00" and ("1", "text", "ReGap") not in said
    assert "with and without correction at layer 2, after the edited layer 1" in found.caption


@pytest.mark.parametrize("name", ["separability", "outcomes", "methods"])
def test_two_models_in_one_run_have_rows_of_their_own(run_folder: Path, name: str) -> None:
    """`compare --family` writes the rows of several models into one table."""
    if name == "methods":
        empty = dict.fromkeys(("change", "change_low", "change_high", "p", "p_holm", "detectable"))
        made = pd.concat([rows({"cast": (0.5, 0.4, 0.6), "regap": (0.25, 0.2, 0.3)}, "attack_success")])
        Record(name, made.assign(model="m", arm="typographic", **empty)).save(run_folder)
    table = Record.load(run_folder, name).table
    worse = table.assign(model="m2", **{end: table[end] + 0.25 for end in ("value", "low", "high")})
    Record(name, pd.concat([table, worse])).save(run_folder)
    found = {table.name: table for table in tables_of(RunRecords.load(run_folder))}[name]
    assert found.headings[0] == "model" and {row[0] for row in found.rows} == {"m", "m2"}
    halves = [[row[1:-1] for row in found.rows if row[0] == model] for model in ("m", "m2")]
    assert len(halves[0]) == len(halves[1]) > 1 and halves[0] != halves[1]
    best = [row[:2] for row in found.rows for cell in row if isinstance(cell, TableCell) and cell.best]
    assert best == ([("m", "regap"), ("m2", "regap")] if name == "methods" else [])


def test_rows_that_the_keys_do_not_tell_apart_are_an_error() -> None:
    twice = pd.concat([rows({"a": (0.1, 0.0, 0.2)}, "utility")] * 2)
    with pytest.raises(ValueError, match="two rows of the table have the same"):
        grid(twice, ("method",), ("utility",))


def test_the_versions_of_the_criteria_are_told(planted: Any) -> None:
    table = planted("claims").table
    assert criteria_of(table).endswith("versions: collapse 2, regap 2, drift_causes 2.")


def test_a_run_without_tables_has_none(tmp_path: Path) -> None:
    assert tables_of(RunRecords.load(tmp_path)) == []


def test_no_rows_or_rows_of_another_length_are_errors() -> None:
    with pytest.raises(ValueError, match="has no rows"):
        PrintedTable("t", "c", ("a",), ())
    with pytest.raises(ValueError, match="not as long as the headings"):
        PrintedTable("t", "c", ("a", "b"), (("x",),))


def test_claims_keep_their_words(planted_run: Path) -> None:
    claims = tables_of(RunRecords.load(planted_run))[0]
    assert isinstance(Record.load(planted_run, "claims"), Record)
    assert {row[1] for row in claims.rows} == {"holds", "does not hold", "unclear"}
