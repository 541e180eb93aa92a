"""In print a figure has the width of a column, letters that can be read, and nothing that must be clicked."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from regap.analyses.runs.records import RunRecords
from regap.figures.gallery import draw_all
from regap.figures.print.printing import (
    PIXELS_PER_MM,
    PIXELS_PER_POINT,
    PRINT_STYLES,
    Printed,
    PrintStyle,
    first_choices,
    panels,
    print_style,
    printed,
)


@pytest.fixture(params=list(PRINT_STYLES))
def look(request: Any) -> PrintStyle:
    return print_style(request.param)


@pytest.fixture
def figures(planted_run: Path, look: PrintStyle) -> dict[str, Printed]:
    drawn = draw_all(RunRecords.load(planted_run))
    return {one.drawing.name: printed(one.figure, look) for one in drawn if one.figure is not None}


def test_every_figure_is_as_wide_as_one_column_or_two(figures: dict[str, Printed], look: PrintStyle) -> None:
    widths = {name: one.width / PIXELS_PER_MM for name, one in figures.items()}
    assert widths["separability_by_layer"] == pytest.approx(look.one_column, abs=0.2)
    assert widths["dose_response"] == pytest.approx(look.two_columns, abs=0.2)
    assert {round(width) for width in widths.values()} == {look.one_column, look.two_columns}
    assert all(one.figure.layout.height == one.height for one in figures.values())


def test_no_letter_is_smaller_than_the_style_allows(figures: dict[str, Printed], look: PrintStyle) -> None:
    smallest = look.small_letters * PIXELS_PER_POINT - 0.01
    for one in figures.values():
        layout = one.figure.layout
        sizes = [layout.font.size, layout.legend.font.size or layout.font.size]
        sizes += [axis.tickfont.size for axis in (*one.figure.select_xaxes(), *one.figure.select_yaxes())]
        sizes += [note.font.size for note in layout.annotations]
        assert min(sizes) >= smallest


def test_nothing_is_left_that_must_be_clicked(figures: dict[str, Printed]) -> None:
    for one in figures.values():
        assert not one.figure.layout.updatemenus and not one.figure.layout.sliders
        assert not one.figure.layout.title.text


def test_what_the_menus_show_is_told(figures: dict[str, Printed]) -> None:
    assert figures["separability_by_layer"].shown == "d′; no correction"
    assert figures["refusal_drift_plane"].shown.endswith("layer 1")


def test_panels_have_letters_row_by_row_and_a_single_one_has_none(figures: dict[str, Printed]) -> None:
    found = [note.text for note in figures["dose_response"].figure.layout.annotations]
    letters = [text for text in found if text in {f"<b>{letter}</b>" for letter in "abcdefgh"}]
    assert letters == [
        f"<b>{letter}</b>" for letter in "abcdef"
    ]  # 2 directions x d', attack success, utility
    places = panels(figures["dose_response"].figure)
    assert all(one.top > two.top or one.left < two.left for one, two in pairwise(places))
    single = figures["separability_by_layer"].figure.layout.annotations
    assert not [note for note in single if note.text == "<b>a</b>"]


def test_legends_hang_one_below_another_and_above_the_plot(figures: dict[str, Printed]) -> None:
    layout = figures["drift_and_separability"].figure.layout
    assert layout.legend.y == 1 and layout.legend2.y < 1
    lowest = (1 - layout.legend2.y) * layout.height
    assert lowest < layout.margin.t


def test_the_figure_given_is_left_as_it_was(planted_run: Path, look: PrintStyle) -> None:
    for one in draw_all(RunRecords.load(planted_run)):
        assert one.figure is not None
        before = go.Figure(one.figure)
        assert printed(one.figure, look).figure != before
        assert one.figure == before


def test_long_titles_are_broken_at_their_brackets() -> None:
    figure = go.Figure(go.Scatter(x=[0, 1], y=[0, 1], name="a"))
    figure.update_yaxes(title_text="a very long name of a measure indeed (and its unit)")
    found = printed(figure, print_style("paper")).figure.layout.yaxis.title.text
    assert found == "a very long name of a measure indeed<br>(and its unit)"
    figure.update_yaxes(title_text="short (unit)")
    assert printed(figure, print_style("paper")).figure.layout.yaxis.title.text == "short (unit)"


def test_without_menus_nothing_was_chosen() -> None:
    assert first_choices(go.Figure()) == ""


def test_a_style_that_is_not_known_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="style='poster' is not known; choose one of paper, slides"):
        print_style("poster")


def test_what_waits_in_the_legend_is_left_out() -> None:
    lines = [go.Scatter(y=[0, 1], name="a"), go.Scatter(y=[1, 0], name="b", visible="legendonly")]
    assert [trace.name for trace in printed(go.Figure(lines), print_style("paper")).figure.data] == ["a"]
