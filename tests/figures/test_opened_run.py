"""A run opened from Python gives its tables and figures by name, and says which command makes what is missing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import hostile_run
import pytest

import regap as rg
from regap.analyses.runs.questions import save_answer
from regap.analyses.runs.records import Record, Summary
from regap.errors import ConfigError
from regap.figures.explorer.app import VIEWS
from regap.figures.explorer.page import choices
from regap.figures.explorer.run.explored import ExploredRun
from regap.figures.explorer.run.query import Query
from regap.figures.gallery import write_figures
from regap.figures.opened_run import StoredSite, edited_layers, in_words
from regap.figures.report import write_report

WITHOUT_TORCH = """
import sys, regap as rg
run = rg.open_run(sys.argv[1])
run.figure("plane"), run.table("separability"), rg.figures.frontier
print("torch" in sys.modules)
"""


def test_tables_and_figures_come_by_name(planted_run: Path, planted: Any) -> None:
    run = rg.open_run(planted_run)
    assert "separability" in run.tables and "ablation" not in run.tables
    table = run.table("separability")
    assert table.equals(planted("separability").table)
    table["value"] = 0.0  # a copy: the run keeps its own
    assert run.table("separability").equals(planted("separability").table)
    assert run.summary["layer"] == 1
    assert run.figure("plane").layout.meta == run.figure("refusal_drift_plane").layout.meta
    assert run.figure("outcomes", theme="dark").layout.paper_bgcolor != "white"


def test_options_choose_what_is_drawn(planted_run: Path) -> None:
    run = rg.open_run(planted_run)
    lines = [trace for trace in run.figure("separability", measure="auroc", arms="text").data if trace.meta]
    assert list(lines[0].y) == [100, 101, 102] and {line.name for line in lines} == {"text"}
    plane: Any = run.figure("plane", layer=2, arms=("typographic",))
    assert not plane.frames and {trace.name for trace in plane.data if trace.name} == {"typographic"}
    assert sorted(plane.data[0].y) == [pair + 1.0 for pair in range(1, 20, 2)]
    doses: Any = run.figure("doses", measure="auroc", arms="picture")
    assert [note.text for note in doses.layout.annotations] == ["AUROC"] and not doses.layout.updatemenus


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("plan", {}, "only='plan' is not a figure; .* plane for refusal_drift_plane"),
        (
            "plane",
            {"measure": "auroc"},
            "not an option of the figure refusal_drift_plane; it has layer, arms",
        ),
        ("drift", {"layer": 1}, "drift_and_separability; it has none"),
        ("plane", {"color": 1}, "color=1 is not an option of figures"),
        ("plane", {"theme": "pink"}, "theme='pink'"),
        ("plane", {"layer": 99}, "layer=99 was not read; choose a layer from 0 to 2"),
        ("outcomes", {"arms": "smell"}, "arm smell is not in the table; choose one of text, typographic"),
        (
            "separability",
            {"layer": 99},
            "'separability_by_layer': layer=99 was not read; choose a layer from 0 to 2",
        ),
        ("ablation", {}, "no table 'ablation'; `regap ablate RUN` makes it"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    planted_run: Path, name: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        rg.open_run(planted_run).figure(name, **options)


def test_a_missing_table_is_named_with_the_command_that_makes_it(planted_run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no table 'sweep' yet. It is made by: regap sweep RUN. It has .*claims"
    ):
        rg.open_run(planted_run).table("sweep")
    with pytest.raises(ConfigError, match="It has no tables yet"):
        rg.open_run(tmp_path).table("claims")
    with pytest.raises(ConfigError, match="is not a folder; make one with `regap run`"):
        rg.open_run(tmp_path / "absent")


def test_the_report_is_written_into_the_run(run_folder: Path) -> None:
    assert rg.open_run(run_folder).report() == run_folder / "report.html"


def test_no_torch_is_loaded_and_figures_are_found_by_attribute(planted_run: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(planted_run)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"
    with pytest.raises(AttributeError, match="no attribute 'cubist'"):
        _ = rg.figures.cubist  # pyright: ignore[reportAttributeAccessIssue]


def test_the_edited_layers_come_from_the_summary() -> None:
    site = {"layers": [4, 3], "positions": "last"}
    assert edited_layers(Summary({"fixed": {"site": site}})) == (3, 4)
    assert StoredSite.of(Summary({"fixed": {"site": site}}), "fixed") == StoredSite((4, 3), "last")
    assert edited_layers(Summary({})) == ()


@pytest.fixture
def asked_twice(run_folder: Path) -> Path:
    """A run that was asked two ablations, of which the second changes nothing."""
    table = hostile_run.ablation()
    flat = table.assign(value=0.0, low=-0.125, high=0.125)
    for layers, rows in (([0, 1, 2], table), ([0], flat[flat["layer"] == 0])):
        settings = {"components": ["block"], "layers": layers, "note": "<b>bold</b>"}
        save_answer(run_folder, "ablate", settings, [Record("ablation", rows)])
    return run_folder


def test_every_question_is_kept_and_the_newest_is_shown_first(asked_twice: Path) -> None:
    run = rg.open_run(asked_twice)
    newest, older = run.questions
    assert set(run.table("ablation")["layer"]) == {0} == set(run.table("ablation", newest)["layer"])
    assert set(run.table("ablation", older)["layer"]) == {0, 1, 2}
    assert len(run.figure("ablation").data[0].x) == 1 and len(run.figure("ablation", older).data[0].x) == 3
    with pytest.raises(ConfigError, match=r"no table 'claims' yet.* It has ablation"):
        run.table("claims", newest)


def test_questions_of_one_command_are_told_by_what_differs(asked_twice: Path) -> None:
    newest, older = rg.open_run(asked_twice).questions
    assert in_words(older, (newest, older)) == "ablate: layers 0, 1, 2"
    assert in_words(newest) == "ablate: components block; layers 0; note <b>bold</b>"


def test_figures_and_the_report_show_every_question(asked_twice: Path) -> None:
    names = [path.stem for path in write_figures(asked_twice, "ablation")]
    digest = rg.open_run(asked_twice).questions[1].folder.name.rpartition("-")[2]
    assert names == ["ablation", f"ablation-{digest}"]
    page = write_report(asked_twice).read_text()
    assert (
        page.count("Asked by regap ablate: layers 0.")
        == page.count("Asked by regap ablate: layers 0, 1, 2.")
        == 1
    )
    assert f'id="ablation-{digest}-figure"' in page and 'href="#questions"' in page
    assert "note &lt;b&gt;bold&lt;/b&gt;" in page and "<b>bold" not in page


def test_the_explorer_offers_every_question(asked_twice: Path) -> None:
    run = ExploredRun(asked_twice)
    newest, older = run.questions
    view = VIEWS["ablation"]
    offered = choices("asked", [run])
    assert list(offered) == ["any", newest.folder.name, older.folder.name]
    for asked, layers in (
        ("", [0]),
        (newest.folder.name, [0]),
        (older.folder.name, [0, 1, 2]),
        ("gone", [0]),
    ):
        shown = view.show(run, Query("ablation", heat="ablation", asked=asked))
        assert shown.figure is not None and list(shown.figure.data[0].x) == layers
        assert (
            sorted(view.data(run, Query("ablation", heat="ablation", asked=asked))["layer"].unique())
            == layers
        )


def test_a_figure_is_drawn_from_a_table_in_memory(planted_run: Path, planted: Any) -> None:
    run, table = rg.open_run(planted_run), planted("separability").table
    assert len(rg.figure("separability", table).data) == len(run.figure("separability").data)
    alone: Any = rg.figure("separability", table, arms=["text"], theme="dark")
    assert {trace.meta["arm"] for trace in alone.data if trace.meta} == {"text"}
    assert alone.layout.paper_bgcolor != "white"
    with pytest.raises(ValueError, match=r"layer=99 is not an option"):
        rg.figure("outcomes", planted("outcomes").table, layer=99)
    with pytest.raises(ValueError, match="column"):
        rg.figure("separability", table.drop(columns="value"))
