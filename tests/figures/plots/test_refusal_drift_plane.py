"""Each frame holds the planted coordinates of its layer; a thinned cloud is a fixed, proportional draw."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from regap.analyses.runs.records import Record
from regap.figures.plots.refusal_drift_plane import caption, draw


def many(prompts: int) -> Record:
    pairs = np.arange(prompts)
    table = pd.DataFrame(
        {"pair_id": [f"p{pair:05d}" for pair in pairs], "refusal": 1.0 * pairs, "drift": 0.0}
    )
    table["label"] = np.where(pairs % 4 == 0, "harmful", "harmless")
    same = {"model": "m", "category": "c", "split": "test", "arm": "text", "condition": "baseline"}
    return Record("coordinates", pd.concat([table.assign(**same, layer=layer) for layer in (0, 1)]))


def test_each_frame_holds_the_coordinates_of_its_layer(planted) -> None:
    figure: Any = draw(planted("coordinates"), chosen_layer=1)
    assert [frame.name for frame in figure.frames] == ["0", "1", "2"]
    harmful_typographic = 2
    assert set(figure.frames[2].data[harmful_typographic].x) == {1.0}
    assert sorted(figure.frames[2].data[harmful_typographic].y) == [pair + 1.0 for pair in range(1, 20, 2)]
    assert sorted(figure.data[harmful_typographic].y) == [pair + 0.5 for pair in range(1, 20, 2)]
    assert figure.layout.sliders[0].active == 1


def test_arms_are_colours_and_classes_are_symbols(planted) -> None:
    figure: Any = draw(planted("coordinates"))
    assert [trace.marker.symbol for trace in figure.data] == (3 + 1) * [
        "circle",
        "x-thin",
    ]  # the arms, and one of them corrected
    assert len({trace.marker.color for trace in figure.data}) == 3


def test_the_threshold_is_drawn_at_its_layer_and_lies_within_the_axes(planted) -> None:
    figure: Any = draw(planted("coordinates"), threshold={0: 77.0})
    assert [shape.y0 for shape in figure.frames[0].layout.shapes] == [77.0]
    assert figure.frames[0].layout.yaxis.range[1] > 77
    assert not figure.frames[1].layout.shapes
    assert not draw(planted("coordinates")).frames[0].layout.shapes


def test_a_large_cloud_is_thinned_to_the_same_prompts_each_time_in_proportion(planted) -> None:
    record = many(1000)
    first, again = draw(record, most_points=100), draw(record, most_points=100)
    assert [len(trace.x) for trace in first.data] == [25, 75]
    assert first.to_json() == again.to_json()
    assert first.frames[0].data[0].y == first.frames[1].data[0].y
    assert "n = 100 points per layer, a fixed random sample of 1,000" in caption(record, most_points=100)
    assert "all of them" in caption(planted("coordinates"))


def test_more_than_ten_thousand_points_are_drawn_by_webgl() -> None:
    assert isinstance(draw(many(10_400), most_points=20_000).data[0], go.Scattergl)
    assert isinstance(draw(many(100)).data[0], go.Scatter)
