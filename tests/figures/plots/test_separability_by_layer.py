"""The lines are the planted values, the menus change measure and condition, the chosen layer is marked."""

from typing import Any

from regap.analyses.runs.records import Record
from regap.figures.plots.separability_by_layer import caption, draw


def lines(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.mode == "lines+markers"]


def test_one_line_per_arm_and_condition_holds_the_planted_values_and_its_band(planted) -> None:
    figure: Any = draw(planted("separability"))
    assert [line.name for line in lines(figure)] == 2 * ["text", "typographic", "typographic (cluttered)"]
    assert [list(line.y) for line in lines(figure)][:3] == [[0, 1, 2], [10, 11, 12], [20, 21, 22]]
    assert list(figure.data[0].y) == [0.125, 1.125, 2.125, 1.875, 0.875, -0.125]
    assert [line.visible for line in lines(figure)] == 3 * [True] + 3 * [False]


def test_the_measure_menu_redraws_each_line_and_the_view_menu_shows_one_condition(planted) -> None:
    figure: Any = draw(planted("separability"))
    measure, view = figure.layout.updatemenus
    assert [button.label for button in measure.buttons] == ["d′", "AUROC", "usable separation", "gap"]
    assert measure.buttons[1].args[0]["y"][1] == [100, 101, 102]
    assert [button.label for button in view.buttons] == ["no correction", "ReGap"]
    assert view.buttons[1].args[0]["visible"] == 6 * [False] + 6 * [True]


def test_the_chosen_layer_is_marked_only_when_it_is_given(planted) -> None:
    assert not draw(planted("separability")).layout.shapes
    figure: Any = draw(planted("separability"), chosen_layer=2)
    assert [shape.x0 for shape in figure.layout.shapes] == [2]
    assert figure.layout.annotations[0].text == "chosen layer 2"


def test_an_unknown_interval_leaves_the_line_without_a_band(planted) -> None:
    table = planted("separability").table.assign(low=float("nan"))
    figure: Any = draw(Record("separability", table))
    assert list(figure.data[0].y) == []
    assert list(figure.data[1].y) == [0, 1, 2]


def test_the_caption_counts_the_prompts_and_names_what_is_ours(planted) -> None:
    text = caption(planted("separability"))
    assert "n = 40 prompts" in text
    assert "95 %" in text
    assert "paper's claim" in text and "our operationalisation" in text
