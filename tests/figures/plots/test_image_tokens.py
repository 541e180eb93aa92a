"""Doses of the drift as a line, random vectors as points, other corrections as levels."""

from typing import Any

import pandas as pd
import pytest

from regap.analyses.runs.records import Record
from regap.figures.plots.image_tokens import caption, draw

DOSES = {0.5: 0.3, 1.0: 0.2, 2.0: 0.5}


def record(measures: tuple[str, ...] = ("attack_success", "over_refusal", "auroc_rho")) -> Record:
    conditions = [("nothing", "none", -1, 0.0, 0.6), ("last token", "none", -1, 0.0, 0.02)]
    conditions += [(f"image tokens, {dose:g} D", "D", 2, dose, value) for dose, value in DOSES.items()]
    conditions += [(f"image tokens, random {n}", f"random {n}", 2, 1.0, 0.55 + n / 100) for n in range(3)]
    conditions += [("one pass", "D", 0, 0.5, 0.01)]
    conditions += [("one pass, within budgets", "D within budgets", 0, 0.5, 0.04)]
    rows = [
        {"model": "m", "arm": "typographic", "condition": condition, "vector": vector, "layer": layer}
        | {
            "alpha": alpha,
            "measure": measure,
            "value": value,
            "low": value - 0.01,
            "high": value + 0.01,
            "n": 40,
        }
        for condition, vector, layer, alpha, value in conditions
        for measure in measures
        if measure != "auroc_rho" or vector != "none"
    ]
    rows.append({**rows[0], "arm": "text", "value": 0.99, "low": 0.98, "high": 1.0})
    return Record("image_tokens", pd.DataFrame(rows))


def traces(name: str) -> list[Any]:
    figure: Any = draw(record())
    return [trace for trace in figure.data if trace.name == name]


def test_the_line_begins_without_correction_and_follows_the_doses() -> None:
    lines = [trace for trace in traces("drift D, by dose") if trace.mode == "lines+markers"]
    assert len(lines) == 3
    assert list(lines[0].x) == [0.0, *DOSES] and list(lines[0].y) == pytest.approx([0.6, *DOSES.values()])


def test_random_vectors_are_points_at_their_dose() -> None:
    first = traces("random vectors")[0]
    assert list(first.x) == [1.0] * 3 and list(first.y) == pytest.approx([0.55, 0.56, 0.57])


def test_other_corrections_are_levels_and_each_is_named_once() -> None:
    for name, value in (("last token", 0.02), ("one pass", 0.01), ("one pass, within budgets", 0.04)):
        found = traces(name)
        assert list(found[0].y) == pytest.approx([value] * 2)
        assert [bool(trace.showlegend) for trace in found].count(True) == 1


def test_the_text_arm_is_not_among_the_doses() -> None:
    assert all(0.99 not in list(trace.y) for trace in draw(record()).data)  # type: ignore[union-attr]


def test_a_measure_that_was_not_taken_has_no_panel() -> None:
    figure: Any = draw(record(("attack_success",)))
    assert [note.text for note in figure.layout.annotations][:1] == ["attack success"]
    assert not any("contrasts" in (note.text or "") for note in figure.layout.annotations)


def test_the_caption_counts_vectors_and_prompts() -> None:
    told = caption(record())
    assert "3 random vectors" in told and "40" in told and "operationalisation" in told
