"""Points lie at (over-refusal, attack success); fixed strengths are joined by number, not by spelling."""

from typing import Any

import pandas as pd
import pytest

from regap.figures.plots.regap_against_fixed import apart, caption, draw, number_in


def drawn(planted: Any) -> list[Any]:
    figure: Any = draw(planted("adaptive"))
    return list(figure.data)


def test_fixed_strengths_are_joined_in_order_of_alpha(planted) -> None:
    fixed = next(trace for trace in drawn(planted) if trace.name.startswith("fixed"))
    assert list(fixed.text) == ["0.5", "2", "10"]
    assert list(fixed.y) == pytest.approx([0.2, 0.1, 0.0])
    assert list(fixed.x) == pytest.approx([1.2, 1.1, 1.0])


def test_each_method_has_interval_bars_both_ways_and_utility_on_hover(planted) -> None:
    regap = next(trace for trace in drawn(planted) if trace.name == "ReGap")
    assert (list(regap.x), list(regap.y)) == (pytest.approx([1.4]), pytest.approx([0.4]))
    assert list(regap.error_x.array) == pytest.approx([0.125])
    assert regap.customdata[0][8] == pytest.approx(0.4)
    assert "utility" in regap.hovertemplate


def test_a_method_with_a_hostile_name_is_shown_as_text(planted) -> None:
    names = [trace.name for trace in drawn(planted)]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in names
    assert not any("<script" in name for name in names)


@pytest.mark.parametrize(
    ("setting", "number"), [("alpha=1.5", 1.5), ("budget=.05", 0.05), ("none", 0.0), ("a=-2", -2.0)]
)
def test_the_strength_is_the_first_number_of_a_setting(setting: str, number: float) -> None:
    assert number_in(setting) == number


def test_the_caption_names_the_claim(planted) -> None:
    assert "paper's claim" in caption(planted("adaptive"))


def test_labels_are_not_written_over_one_another() -> None:
    rows = pd.DataFrame(
        {
            "over_refusal": [0.0, 0.01, 0.5, 1.0],
            "attack_success": [0.5, 0.49, 0.0, 0.0],
            "strength": [0.5, 0.75, 2, 3],
        }
    )
    assert apart(rows) == ["0.5", "", "2", "3"]
