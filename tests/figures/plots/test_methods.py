"""A dot per method lies at its planted share, the lowest attack success on top, filled where it differs."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from regap.analyses.runs.records import Record
from regap.figures.gallery import write_figures
from regap.figures.plots.methods import caption, draw

SHARES = {"none": 0.5, "cast": 0.25, "regap": 0.375, "<b>odd</b>": 0.75}


@pytest.fixture
def methods() -> Record:
    rows = [
        {"model": "m", "arm": "typographic", "method": method, "measure": measure, "n": 40}
        | {"value": share, "low": share - 0.125, "high": share + 0.125}
        | {"change": share - 0.5, "change_low": share - 0.6, "change_high": share - 0.4}
        | {"detectable": None if method == "none" else 0.1}
        | {"p": None if method == "none" else 0.01, "p_holm": None if method == "none" else 0.4 - share / 2}
        for method, share in SHARES.items()
        for measure in ("attack_success", "over_refusal", "utility", "refusal")
    ]
    return Record("methods", pd.DataFrame(rows))


@pytest.fixture
def settings() -> Record:
    titles = {"none": "no defence", "cast": "CAST", "regap": "ReGap, <i>recipe</i>"}
    known = {
        "model": "m",
        "needs": "",
        "looks_at": "",
        "site": "",
        "strength": 0.0,
        "passes": 1,
        "readings": 0,
    }
    known |= {"writes": "", "answers": 0.0, "wording": ""}
    rows = [{**known, "method": name, "title": title} for name, title in titles.items()]
    return Record("method_settings", pd.DataFrame(rows))


def test_titles_are_those_that_the_comparison_kept(methods: Record, settings: Record) -> None:
    dots = draw(methods, settings).data[1]
    assert list(dots.y)[:3] == ["CAST", "ReGap, &lt;i&gt;recipe&lt;/i&gt;", "no defence"]


def test_dots_lie_at_their_shares_in_order_of_attack_success(methods: Record) -> None:
    figure: Any = draw(methods)
    line, dots = figure.data[:2]
    assert list(dots.y) == ["cast", "regap", "none", "&lt;b&gt;odd&lt;/b&gt;"]
    assert list(dots.x) == [0.25, 0.375, 0.5, 0.75]
    assert set(dots.error_x.array) == {0.125}
    assert set(line.x) == {0.5}


def test_only_what_differs_after_correction_is_filled(methods: Record) -> None:
    colours = draw(methods).data[1].marker.color
    assert [colour == "white" for colour in colours] == [True, True, True, False]


def test_the_caption_names_the_test(methods: Record) -> None:
    assert "exact McNemar test, p below 0.05 after Holm's correction" in caption(methods)


def test_it_is_drawn_where_its_table_is_and_missed_nowhere(
    methods: Record, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regap.figures.gallery.DRAWINGS", ())
    assert write_figures(run_folder) == []
    methods.save(run_folder)
    assert [path.stem for path in write_figures(run_folder)] == ["methods"]


def test_contrasts_have_a_panel_where_there_are_any(methods: Record) -> None:
    rows = methods.table[methods.table["measure"] == "over_refusal"].assign(measure="contrast_over_refusal")
    wider = draw(Record("methods", pd.concat([methods.table, rows])))
    assert [len(found.layout.annotations) for found in (draw(methods), wider)] == [3, 4]
    assert any("over-refusal of contrasts" in note.text for note in wider.layout.annotations)
