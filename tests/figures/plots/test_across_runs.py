"""Stacks of different height are laid over one another by relative depth."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from regap.analyses.runs.records import Record, RunRecords
from regap.figures.plots.across_runs import at_depths, caption, draw, named, shared_arms


def separability(layers: int, arms: tuple[str, ...] = ("text", "typographic"), n: int = 40) -> Record:
    rows = [
        {"model": "m", "arm": arm, "condition": condition, "direction": "refusal", "layer": layer}
        | {"measure": measure, "value": value, "low": value - 0.1, "high": value + 0.1, "n": n}
        for arm in arms
        for layer in range(layers)
        for measure in ("d_prime", "auroc", "usable", "gap")
        for condition, value in (("baseline", layer / (layers - 1)), ("fixed", 9.0))
    ]
    return Record("separability", pd.DataFrame(rows))


def test_depth_is_0_at_the_first_block_and_1_at_the_last_of_any_stack() -> None:
    for layers in (3, 12):
        rows = at_depths(separability(layers), "text").query("measure == 'd_prime'")
        assert rows["depth"].tolist() == pytest.approx(rows["value"].tolist())
        assert (rows["depth"].min(), rows["depth"].max()) == (0, 1)


def test_each_run_has_one_colour_in_a_panel_per_arm() -> None:
    figure = draw({"small": separability(3), "<b>large</b>": separability(12)})
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert len(lines) == 4 and len({trace.line.color for trace in lines}) == 2
    assert {trace.name for trace in lines} == {"small", "&lt;b&gt;large&lt;/b&gt;"}
    assert len({trace.xaxis for trace in lines}) == 2
    assert [trace.showlegend for trace in lines].count(True) == 2


def test_only_arms_of_all_runs_are_drawn() -> None:
    both = {
        "a": separability(3, ("text", "typographic", "picture")),
        "b": separability(3, ("text", "picture")),
    }
    assert shared_arms(both) == ("text", "picture")
    with pytest.raises(ValueError, match="no arm is in all runs"):
        shared_arms({"a": separability(3, ("text",)), "b": separability(3, ("picture",))})


def test_the_menu_changes_the_measure() -> None:
    record = separability(3)
    table = record.table.assign(value=record.table["value"] + (record.table["measure"] == "auroc"))
    menu = draw(
        {"a": Record("separability", table.assign(low=table["value"], high=table["value"]))}
    ).layout.updatemenus[0]
    assert [button.label for button in menu.buttons] == ["d′", "AUROC", "usable separation"]
    assert [menu.buttons[place].args[0]["y"][1] for place in (0, 1)] == [[0.0, 0.5, 1.0], [1.0, 1.5, 2.0]]


def test_the_caption_names_runs_and_numbers() -> None:
    text = caption({"a": separability(3), "b": separability(3, n=80)})
    assert "Runs: a, b." in text and "n = 40 to 80 prompts" in text


def test_a_run_without_the_table_is_named(tmp_path: Path, planted_run: Path) -> None:
    whole = RunRecords.load(planted_run)
    assert set(named({"whole": whole})) == {"whole"}
    with pytest.raises(ValueError, match="run 'empty' has no table separability"):
        named({"whole": whole, "empty": replace(whole, records={})})


def test_a_run_of_two_models_has_a_line_for_each() -> None:
    one, other = separability(3), separability(5)
    both = Record("separability", pd.concat([one.table, other.table.assign(model="m2")]))
    lines = [trace for trace in draw({"run": both}).data if trace.mode == "lines+markers"]
    assert {trace.name: len(trace.x) for trace in lines} == {"run · m": 3, "run · m2": 5}
