"""Traces before and after are the planted ones, and a detector's bar ends at its AUROC."""

from typing import Any

import pytest

from regap.figures.plots.self_rectification import caption, draw


def test_coordinates_before_and_after_and_their_change(planted) -> None:
    figure: Any = draw(planted("self_rectification"))
    lines = {trace.name: list(trace.y) for trace in figure.data if trace.mode == "lines+markers"}
    assert lines["harmful, before"] == [0, 1, 2]
    assert lines["harmful, after"] == lines["harmful, change"] == [5, 6, 7]
    assert len(lines) == 6


def test_a_bar_reaches_from_chance_to_the_signals_auroc_with_its_interval(planted) -> None:
    figure: Any = draw(planted("self_rectification"), planted("detectors"))
    bar = next(trace for trace in figure.data if trace.type == "bar")
    assert list(bar.y) == ["self-rectification ρ", "z before correction", "probe fitted on images"]
    assert [bar.base + length for length in bar.x] == pytest.approx([0.75, 0.5, 0.875])
    assert list(bar.error_x.array) == pytest.approx([0.125] * 3)


def test_the_caption_speaks_of_detectors_only_when_they_are_drawn(planted) -> None:
    assert "AUROC exceeds" in caption(planted("self_rectification"), planted("detectors"))
    assert "AUROC" not in caption(planted("self_rectification"))
