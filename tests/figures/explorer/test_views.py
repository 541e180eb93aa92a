"""What each view shows of a run whose numbers are known, without a browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import hostile_run as made
import numpy as np
import pandas as pd
import pytest

from regap.figures.drawing import style
from regap.figures.drawing.items import thinned
from regap.figures.drawing.style import on_paper
from regap.figures.explorer.app import VIEWS
from regap.figures.explorer.detail import detail
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query, as_the_run, chosen, resolved
from regap.figures.explorer.views import doses, item_table, plane, separability, trajectories
from regap.figures.explorer.views.live import live_view
from regap.figures.explorer.views.view import Shown

Asked = Callable[..., Query]


@pytest.fixture
def asked(explored: ExploredRun) -> Asked:
    """The query that the run would be shown by, with some of it changed."""
    return lambda view="plane", **changed: resolved(Query(view, **changed), explored)


def drawn(shown: Shown) -> Any:
    """The figure of a view that has one."""
    assert shown.figure is not None
    return shown.figure


def clouds(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data if trace.type == "scattergl" and trace.meta}


def test_the_plane_puts_every_item_at_its_coordinates(explored: ExploredRun, asked: Asked) -> None:
    figure = drawn(plane.show(explored, asked(layer=2)))
    points = clouds(figure)
    assert set(points) == {f"{arm}, {label}" for arm in made.ARMS[:2] for label in style.LABELS}
    harmful = points["typographic, harmful"]
    places = [made.IDS.index(name) for name in harmful.customdata]
    np.testing.assert_allclose(harmful.y, [place + 20 for place in places])
    np.testing.assert_allclose(harmful.x, [place / 10 + 1 for place in places], rtol=1e-6)
    assert sum(len(trace.x) for trace in points.values()) == 2 * len(made.IDS)


def test_the_threshold_is_drawn_at_its_own_layer_alone(explored: ExploredRun, asked: Asked) -> None:
    lines = {layer: drawn(plane.show(explored, asked(layer=layer))).layout.shapes for layer in (1, 2)}
    assert [line.y0 for line in lines[1]] == [7.25] and not lines[2]


def test_a_correction_moves_the_points(explored: ExploredRun, asked: Asked) -> None:
    before, after = (
        clouds(drawn(plane.show(explored, asked(layer=0, condition=name))))["text, harmful"]
        for name in ("baseline", "regap")
    )
    np.testing.assert_allclose(np.array(after.y) - np.array(before.y), 2)


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"label": "harmful"}, lambda place: place % 2 == 1),
        ({"only": ("flipped",)}, lambda place: place % 10 == 3),
        ({"only": ("disagree",)}, lambda place: place % 10 == 4),
        ({"verdict": "refused", "condition": "fixed"}, lambda place: place % 10 == 3),
        ({"search": "PLAIN-1"}, lambda place: "plain-1" in made.IDS[place]),
        ({"search": hostile.SCRIPT}, lambda place: place % len(hostile.TEXTS) == 0),
        ({"category": hostile.IMAGE}, lambda place: place >= 0),
    ],
)
def test_a_filter_keeps_those_items_and_no_others(
    explored: ExploredRun, asked: Asked, changed: dict, kept: Callable[[int], bool]
) -> None:
    rows = explored.items.rows[chosen(explored, asked(arm=("text",), **changed))]
    assert set(rows["pair_id"]) == {name for place, name in enumerate(made.IDS) if kept(place)}
    assert set(rows["arm"]) == {"text"} and set(rows["condition"]) == {changed.get("condition", "baseline")}


def test_filters_that_nothing_fits_say_so(explored: ExploredRun, asked: Asked) -> None:
    for view in ("plane", "trajectories", "items"):
        with pytest.raises(Missing, match="No item matches these filters"):
            VIEWS[view].show(explored, asked(view, search="no such words"))


def test_a_crowd_is_thinned_evenly_and_alike_each_time() -> None:
    groups = np.repeat([0, 1], [90_000, 10_000])
    places = np.arange(100_000)
    kept = thinned(places, groups, 100_000, 1000)
    assert len(kept) == 1000 and (groups[kept] == 1).sum() == 100
    assert (thinned(places, groups, 100_000, 1000) == kept).all()
    assert abs(kept.mean() - 50_000) < 3000
    assert (thinned(places[:500], groups[:500], 100_000, 1000) == places[:500]).all()


def test_a_window_brings_back_the_items_inside_it(explored: ExploredRun, asked: Asked) -> None:
    figure = drawn(plane.show(explored, asked(layer=0, zoom=(0.0, 1.05, -1.0, 10.5))))
    names = {name for trace in clouds(figure).values() for name in trace.customdata}
    assert names == set(made.IDS[:11])
    assert figure.layout.xaxis.range == (0.0, 1.05)


def test_the_chosen_item_is_ringed_in_each_arm_that_is_shown(explored: ExploredRun, asked: Asked) -> None:
    ring = drawn(plane.show(explored, asked(layer=0, item="plain-0"))).data[-1]
    assert (
        ring.name == "chosen" and list(ring.y) == [7.0, 7.0] and max(ring.marker.size) > min(ring.marker.size)
    )
    assert drawn(plane.show(explored, asked(layer=0))).data[-1].name != "chosen"


def test_separability_draws_the_table_s_values(explored: ExploredRun, asked: Asked) -> None:
    figure = drawn(separability.show(explored, asked("separability", measure="auroc")))
    lines = {trace.name: list(trace.y) for trace in figure.data if trace.mode == "lines+markers"}
    assert lines == {"text": [100, 101, 102], "typographic": [110, 111, 112]}


def test_a_trajectory_goes_through_all_layers_under_every_condition(
    explored: ExploredRun, asked: Asked
) -> None:
    query = asked("trajectories", item="plain-0", item_arm="text")
    figure = drawn(trajectories.show(explored, query))
    lines = {
        trace.name: list(trace.y) for trace in figure.data if trace.showlegend and "chosen" in trace.name
    }
    assert lines == {
        "chosen, no correction": [7, 17, 27],
        "chosen, fixed strength": [8, 18, 28],
        "chosen, ReGap": [9, 19, 29],
    }


def test_a_strength_moves_the_points_by_exactly_its_vector(explored: ExploredRun, asked: Asked) -> None:
    """D = (3, 4), r = (1, 0): D moves δ by 1 and z by 3; across r by 16/25 and 0; |D| r by 3/5 and 5."""
    moves = {"D": (1, 3), "D_along": (9 / 25, 3), "D_across": (16 / 25, 0), "refusal": (3 / 5, 5)}
    for vector, (delta, z) in moves.items():
        query = asked("doses", vector=vector, strength=2.0)
        moved = clouds(drawn(doses.show(explored, query)))["text, harmful"]
        place = made.IDS.index(moved.customdata[0])
        assert moved.x[0] == pytest.approx(place / 10 - 2 * delta, abs=1e-5)
        assert moved.y[0] == pytest.approx(place + 10 - 2 * z, abs=1e-5)


def test_doses_say_how_many_lie_beyond_the_threshold(explored: ExploredRun, asked: Asked) -> None:
    """At layer 1 the threshold is 7.25 and z = place + 10 - 3α: all are beyond it, then those above place 18."""
    assert (
        "100% of harmful and 100% of harmless" in doses.show(explored, asked("doses", strength=0.0)).caption
    )
    beyond = doses.show(explored, asked("doses", strength=7.0)).caption
    assert "55% of harmful and 50% of harmless" in beyond


def test_data_are_what_is_drawn(explored: ExploredRun, asked: Asked) -> None:
    for name, view in VIEWS.items():
        table = view.data(explored, asked(name))
        assert isinstance(table, pd.DataFrame) and len(table), name
    found = plane.data(explored, asked(layer=2, arm=("text",), label="harmful"))
    assert (found["refusal"] == [place + 20 for place in range(1, len(made.IDS), 2)]).all()


def test_the_table_pages_through_all_items(explored: ExploredRun, asked: Asked) -> None:
    seen: list[str] = []
    for page in range(4):
        rows = item_table.page_of(
            explored,
            asked("items"),
            item_table.found(explored, asked("items"))[page * 25 : page * 25 + 25],
        )
        seen += (rows["pair_id"] + rows["arm"]).tolist()
    assert len(seen) == len(set(seen)) == 2 * len(made.IDS)
    assert "page 4 of 4" in str(item_table.show(explored, asked("items", page=99)).parts[0])


@pytest.mark.parametrize("name", VIEWS)
def test_a_run_that_was_just_begun_says_which_command_goes_on(empty_folder: Path, name: str) -> None:
    run = ExploredRun(empty_folder)
    with pytest.raises(Missing, match=r"regap run|regap ablate|no answers yet"):
        VIEWS[name].show(run, resolved(Query(name), run))
    assert detail(run, resolved(Query(item="p"), run))


def test_a_run_without_answers_shows_the_plane_and_says_what_filters_lack(with_tables: Callable) -> None:
    run = with_tables("coordinates")
    assert drawn(plane.show(run, resolved(Query(), run))).data
    with pytest.raises(Missing, match="no answers yet"):
        plane.show(run, resolved(Query(verdict="refused"), run))
    assert "no answers yet" in str(detail(run, resolved(Query(item="plain-0"), run)))


def test_a_damaged_table_is_told_and_a_repaired_one_is_read(
    with_tables: Callable, explored: ExploredRun
) -> None:
    run = with_tables("coordinates")
    path = run.folder / "tables" / "coordinates.parquet"
    whole = path.read_bytes()
    path.write_bytes(b"no table")
    with pytest.raises(Missing, match=r"coordinates\.parquet cannot be read"):
        plane.show(run, resolved(Query(), run))
    path.write_bytes(whole)
    assert len(run.items) == len(explored.items)


def test_dark_paper_turns_black_to_white_and_leaves_data_alone(explored: ExploredRun, asked: Asked) -> None:
    light, dark = (on_paper(drawn(plane.show(explored, asked())), theme) for theme in ("light", "dark"))
    black, white = (clouds(figure)["text, harmful"].marker.color for figure in (light, dark))
    assert black.startswith("rgba(0, 0, 0") and white.startswith("rgba(242, 242, 242")
    assert dark.layout.paper_bgcolor != "white" and list(light.data[0].x) == list(dark.data[0].x)


def test_the_commands_are_quoted_for_a_shell(explored: ExploredRun, asked: Asked) -> None:
    odd = ExploredRun(explored.folder)
    object.__setattr__(odd, "folder", Path("a; rm -rf $HOME"))
    assert (
        VIEWS["plane"].command(odd, asked()) == "regap figures 'a; rm -rf $HOME' --only refusal_drift_plane"
    )
    assert VIEWS["figures"].command(odd, asked(figure="x;y")).endswith("--only 'x;y'")


def test_hover_labels_hold_no_markup_of_the_run(explored: ExploredRun, asked: Asked) -> None:
    for name in ("plane", "doses"):
        for trace in clouds(drawn(VIEWS[name].show(explored, asked(name)))).values():
            assert not [text for text in trace.text if "<" in text or len(text) > 400]


def test_a_live_model_is_asked_what_the_query_says(explored: ExploredRun, asked: Asked) -> None:
    view = live_view(made.Planted())
    query = asked(
        "live", item="plain-0", item_arm="text", at=1, strength=0.5, vector="D_along", method="regap"
    )
    shown = view.show(explored, query)
    assert "applied strength 0.5" in shown.caption and "D_along" in shown.caption
    assert [list(trace.y) for trace in drawn(shown).data[:2]] == [[0, 1, 2], [0, 1, 7]]
    assert set(view.data(explored, query)["edited_layer"]) == {1}
    assert f"ReGap: {hostile.SCRIPT}" in shown.caption


def test_the_way_back_leads_to_the_run_s_own_regap(explored: ExploredRun, asked: Asked) -> None:
    own = as_the_run(asked("live", item="plain-0"), explored)
    assert own and (own.at, own.positions, own.vector, own.gate) == (0, "image", "D_across", "line")
    assert own.strength == 2.5 and own.item == "plain-0"
    shown = [str(live_view(made.Planted()).show(explored, query).parts) for query in (own.but(at=1), own)]
    assert "as the run has it" in shown[0] and "as the run has it" not in shown[1]


def test_heat_maps_are_a_view_of_their_own(
    explored: ExploredRun, asked: Asked, with_tables: Callable[..., ExploredRun]
) -> None:
    figure = drawn(VIEWS["ablation"].show(explored, asked("ablation")))
    assert [list(trace.z[0]) for trace in figure.data] == [[0, 1, 2], [0, 0, 0]]
    assert VIEWS["ablation"].command(explored, asked("ablation")).endswith("--only ablation")
    bare = with_tables("coordinates")
    for heat, command in (("ablation", "regap ablate RUN"), ("sweep", "regap sweep RUN")):
        with pytest.raises(Missing, match=command):
            VIEWS["ablation"].show(bare, resolved(Query("ablation", heat=heat), bare))
    with pytest.raises(Missing, match="no heat maps 'x'"):
        VIEWS["ablation"].show(explored, asked("ablation", heat="x"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"item": ""}, "Choose an item first"),
        ({"at": 2}, "layer is 2"),
        ({"method": "x"}, "no intervention"),
        ({"positions": "x"}, r"position 'x' is not known; choose one of last, .*image:norm"),
    ],
)
def test_what_cannot_be_asked_of_a_live_model_is_said(
    explored: ExploredRun, asked: Asked, changed: dict, says: str
) -> None:
    with pytest.raises(Missing, match=says):
        live_view(made.Planted()).show(explored, asked("live", **{"item": "plain-0", "at": 1, **changed}))
    with pytest.raises(Missing, match="--model organism"):
        live_view(None).show(explored, asked("live", item="plain-0"))
