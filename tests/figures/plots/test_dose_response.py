"""A vector that works rises as planted, a control stays flat, above for removing and below for adding."""

from typing import Any

from regap.figures.plots.dose_response import caption, draw


def lines(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.mode == "lines+markers" and trace.name == name]


def test_each_panel_holds_the_planted_doses(planted) -> None:
    figure: Any = draw(planted("strength"))
    panels, views = 2 * 3, 2
    assert len(lines(figure, "drift D")) == panels * views
    assert all(line.x == (0.0, 1.0, 2.0) and line.y == (0.0, 3.0, 6.0) for line in lines(figure, "drift D"))
    assert all(line.y == (0.0, 0.0, 0.0) for line in lines(figure, "random, equal norm"))


def test_menus_choose_the_separability_and_the_arm_and_keep_the_text_row(planted) -> None:
    figure: Any = draw(planted("strength"))
    measure, view = figure.layout.updatemenus
    assert [button.label for button in view.buttons] == ["typographic", "picture"]
    shown = [sum(button.args[0]["visible"]) for button in view.buttons]
    assert shown == [2 * 2 * 3 * 2] * 2
    change, title, places = measure.buttons[1].args
    assert all(figure.data[place].xaxis in ("x", "x4") for place in places)
    assert change["y"][1] == [1.0, 4.0, 7.0]
    assert title["annotations[0].text"] == "AUROC" == measure.buttons[1].label


def test_each_vector_is_in_the_legend_once_per_view(planted) -> None:
    figure: Any = draw(planted("strength"))
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert named == 2 * ["drift D", "random, equal norm"]


def test_the_caption_says_that_controls_are_ours(planted) -> None:
    assert "controls are ours" in caption(planted("strength"))
