"""Figures are files made from tables alone: equal tables, equal bytes; no torch, no network."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from regap.analyses.runs.records import Record, RunRecords
from regap.figures.gallery import NAMES, PLOTLY, draw_all, write_figures
from regap.figures.print.printed_tables import tables_of
from regap.figures.print.printing import print_style, printed

TABLES = (
    "separability",
    "coordinates",
    "strength",
    "self_rectification",
    "detectors",
    "adaptive",
    "outcomes",
)

SCRIPT = (
    "import sys, regap.figures.report, regap.figures.gallery, regap.figures.print.printing; "
    "print('torch' in sys.modules)"
)


def test_every_figure_is_written_beside_one_plotly_in_the_same_bytes_each_time(run_folder: Path) -> None:
    written = write_figures(run_folder)
    first = [path.read_bytes() for path in written]
    assert [path.stem for path in written] == list(NAMES)
    assert {path.name for path in (run_folder / "figures").iterdir()} == {
        PLOTLY,
        *(f"{name}.html" for name in NAMES),
    }
    assert f'src="{PLOTLY}"'.encode() in first[0] and f'id="{NAMES[0]}"'.encode() in first[0]
    assert all(len(page) < 1_000_000 and b"<script>alert" not in page for page in first)
    assert [path.read_bytes() for path in write_figures(run_folder)] == first


def test_one_figure_can_be_redrawn_by_name_and_an_unknown_one_is_refused(run_folder: Path) -> None:
    assert [path.stem for path in write_figures(run_folder, only="outcomes")] == ["outcomes"]
    with pytest.raises(ValueError, match=r"only='outcome' is not a figure; choose one of .*'outcomes'"):
        write_figures(run_folder, only="outcome")


def test_a_figure_without_its_table_is_skipped_aloud(
    run_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run_folder / "tables" / "strength.parquet").unlink()
    with caplog.at_level(logging.WARNING):
        written = write_figures(run_folder)
    assert [path.stem for path in written] == [name for name in NAMES if name != "dose_response"]
    assert "dose_response skipped: the run has no table 'strength'" in caplog.text
    with pytest.raises(ValueError, match="no table 'strength'"):
        write_figures(run_folder, only="dose_response")


def test_a_figure_that_fails_says_why_and_stops_no_other(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no ink")

    monkeypatch.setattr("regap.figures.plots.outcomes.draw", broken)
    problems = {drawn.drawing.name: drawn.problem for drawn in draw_all(RunRecords.load(run_folder))}
    assert problems.pop("outcomes") == "drawing failed: ZeroDivisionError: no ink"
    assert set(problems.values()) == {""}


def test_a_run_of_two_models_is_drawn_and_printed_whole(run_folder: Path, planted: Any) -> None:
    for name in TABLES:
        table = planted(name).table
        if "model" in table and name != "prediction":
            table = pd.concat([table, table.assign(model="m2")])
        Record(name, table).save(run_folder)
    drawn = draw_all(RunRecords.load(run_folder))
    assert {one.drawing.name: one.problem for one in drawn} == dict.fromkeys(NAMES, "")
    assert all(printed(one.figure, print_style("paper")).height for one in drawn if one.figure)
    assert len(tables_of(RunRecords.load(run_folder))) == 3


def test_the_summary_gives_the_chosen_layer_and_the_threshold(run_folder: Path) -> None:
    run = RunRecords.load(run_folder)
    (plane,) = draw_all(run, "refusal_drift_plane")
    assert plane.figure is not None
    assert plane.figure.layout.sliders[0].active == 1
    assert [shape.y0 for shape in plane.figure.layout.shapes] == [7.25]


def test_figures_load_no_torch() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
