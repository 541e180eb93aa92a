"""A dot per arm and condition lies at its planted share; rows are arms in their fixed order."""

from typing import Any

from regap.figures.plots.outcomes import caption, draw


def test_dots_lie_at_their_shares_with_their_intervals(planted) -> None:
    figure: Any = draw(planted("outcomes"))
    assert len(figure.data) == 3 * 2
    assert all(sorted(trace.x) == [0.25, 0.375, 0.5] for trace in figure.data)
    assert all(set(trace.error_x.array) == {0.125} for trace in figure.data)
    assert list(figure.layout.yaxis.ticktext) == ["text", "typographic", "typographic (cluttered)"]


def test_conditions_share_a_row_without_covering_each_other(planted) -> None:
    without, regap = draw(planted("outcomes")).data[:2]
    assert (without.name, regap.name) == ("no correction", "ReGap")
    assert [round(height) for height in without.y] == [round(height) for height in regap.y] == [0, 1, 2]
    assert all(upper < lower for upper, lower in zip(without.y, regap.y, strict=True))


def test_the_caption_tells_how_much_was_not_judged(planted) -> None:
    assert "At most 50.0% of the prompts of an arm were not judged" in caption(planted("outcomes"))
