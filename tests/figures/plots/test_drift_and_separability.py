"""Points lie at the planted drift and outcome, with their intervals, and the panels tell the correlation."""

from typing import Any

from regap.analyses.runs.records import Record
from regap.figures.plots.drift_and_separability import caption, draw


def test_each_level_is_a_panel_with_its_points_and_bars(planted) -> None:
    figure: Any = draw(planted("prediction"), planted("correlations"))
    assert len(figure.data) == 2 * (3 + 2 + 3)
    typographic = next(trace for trace in figure.data if trace.name == "typographic")
    assert (typographic.x, typographic.y) == ((1.0,), (8.0,))
    assert (typographic.error_y.array, typographic.error_y.arrayminus) == ((0.25,), (0.5,))
    below = [trace for trace in figure.data if trace.name == "typographic"][1]
    assert below.y == (0.1,)


def test_the_panels_tell_spearmans_correlation_with_interval_and_n(planted) -> None:
    texts = [note.text for note in draw(planted("prediction"), planted("correlations")).layout.annotations]
    assert texts.count("ρ = −0.75 [−0.90, −0.50], n = 3") == 6
    without = [note.text for note in draw(planted("prediction")).layout.annotations]
    assert not any("ρ" in (text or "") for text in without)


def test_models_are_told_by_their_p_value_and_what_has_neither_by_its_value_alone(planted) -> None:
    table = planted("correlations").table
    some = table["level"] == "model"
    table.loc[some, ["low", "high"]] = float("nan")
    texts = [n.text for n in draw(planted("prediction"), Record("correlations", table)).layout.annotations]
    assert texts.count("ρ = −0.75, p = 0.2, n = 3") == 2 and not any("nan" in (text or "") for text in texts)
    table.loc[some, "p"] = float("nan")
    texts = [n.text for n in draw(planted("prediction"), Record("correlations", table)).layout.annotations]
    assert texts.count("ρ = −0.75, n = 3") == 2


def test_an_undefined_correlation_is_said_to_be_undefined(planted) -> None:
    nothing = planted("correlations").table.assign(value=float("nan"), low=float("nan"), high=float("nan"))
    figure: Any = draw(planted("prediction"), Record("correlations", nothing))
    assert [note.text for note in figure.layout.annotations].count("ρ undefined: no variation, n = 3") == 6


def test_the_caption_counts_the_points_of_each_level(planted) -> None:
    assert "3 arms, 2 models, 3 bins" in caption(planted("prediction"), planted("correlations"))
