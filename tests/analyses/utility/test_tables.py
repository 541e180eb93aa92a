"""Utility under every condition: tables that fit, changes that are tested in pairs, rows that are replaced."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regap.analyses.runs.questions import save_answer
from regap.analyses.runs.records import Record
from regap.analyses.utility.tables import scored, utility_records, with_known

Judge = Callable[..., list[Any]]


def answers(judge_answers: Judge, wrong: int, benchmark: str = "pope", count: int = 40) -> list[Any]:
    """Answers to questions about so many images, the first ones wrong."""
    cells = [(f"random-{place}-x", "yes", "No" if place < wrong else "Yes") for place in range(count)]
    return judge_answers(benchmark, cells)


def test_a_correction_is_compared_with_none_on_the_same_questions(judge_answers: Judge) -> None:
    judged = {
        "baseline": answers(judge_answers, 2),
        "fixed": answers(judge_answers, 2),
        "regap": answers(judge_answers, 14),
    }
    tables = {record.name: record.table for record in utility_records(scored("m", "picture", judged))}
    shares = tables["utility"].set_index(["condition", "measure"])["value"]
    assert shares["baseline", "accuracy"] == 38 / 40 and shares["regap", "accuracy"] == 26 / 40
    changes = tables["utility_changes"].set_index("condition")
    assert changes.loc["regap", "value"] == pytest.approx(-12 / 40)
    assert changes.loc["regap", "p"] == pytest.approx(2 * 0.5**12)
    assert changes.loc["regap", "p_holm"] == pytest.approx(4 * 0.5**12)
    assert changes.loc["regap", "p_equivalent"] > 0.5 and changes.loc["fixed", "p"] == 1
    assert changes.loc["fixed", "p_equivalent"] == pytest.approx(0.95**40)  # nothing changed, on forty images
    assert 0 < changes.loc["fixed", "detectable"] < 1
    assert len(tables["utility_answers"]) == 120 and tables["utility_answers"]["right"].sum() == 38 + 38 + 26


def test_a_group_is_compared_as_one(judge_answers: Judge) -> None:
    cells = [(f"count-{place}-{word}", word, word) for place in range(8) for word in ("yes", "no")]
    worse = [(name, answer, "no") for name, answer, _ in cells]
    judged = {"baseline": judge_answers("mme", cells), "regap": judge_answers("mme", worse)}
    [changes] = [
        r.table for r in utility_records(scored("m", "picture", judged)) if r.name == "utility_changes"
    ]
    rows = changes.set_index("measure")
    assert (rows.loc["accuracy", "value"], rows.loc["accuracy", "n"]) == (-0.5, 16)
    assert (rows.loc["accuracy_plus", "value"], rows.loc["accuracy_plus", "n"]) == (-1, 8)
    assert set(rows.index) == {"accuracy", "accuracy_plus"}


def test_pairs_of_no_scored_benchmark_give_no_table(make_judged: Judge) -> None:
    judged = {"baseline": make_judged([("harmless", "complied"), ("harmful", "refused")])}
    assert utility_records(scored("m", "text", judged)) == ()


def test_other_benchmarks_are_kept_and_the_same_one_is_replaced(judge_answers: Judge, tmp_path: Path) -> None:
    for benchmark, wrong in (("pope", 4), ("mme", 2), ("pope", 8)):
        judged = {"baseline": answers(judge_answers, wrong, benchmark)}
        records = with_known(utility_records(scored("m", "picture", judged)), tmp_path)
        save_answer(tmp_path, "utility", {"benchmark": benchmark, "wrong": wrong}, records)
    table = Record.load(tmp_path, "utility")
    accuracy = table.where(measure="accuracy", category="all").set_index("benchmark")["value"]
    assert accuracy.to_dict() == {"mme": 38 / 40, "pope": 32 / 40}
    assert not (
        tmp_path / "tables" / "utility_changes.parquet"
    ).exists()  # one condition has nothing to change
