"""Each panel holds the planted coordinates of its prompts, and its title the planted shares."""

from itertools import product
from typing import Any

import pandas as pd
import pytest

from regap.analyses.runs.records import Record
from regap.errors import ConfigError
from regap.figures.plots.text_image_corrected import caption, draw

PANELS = (("text", "baseline"), ("typographic", "baseline"), ("typographic", "fixed"))


def coordinates(panels: tuple[tuple[str, str], ...] = PANELS) -> Record:
    """Ten test prompts a panel at two layers: harmful ones at 100 times the layer, plus the panel's place."""
    rows = [
        {"model": "m", "pair_id": f"p{pair}", "label": ("harmless", "harmful")[pair % 2], "category": "c"}
        | {"split": split, "arm": arm, "condition": condition, "layer": layer, "drift": 0.0}
        | {"refusal": 100.0 * layer * (pair % 2) + place + 0.01 * pair}
        for (place, (arm, condition)), pair, layer, split in product(
            enumerate(panels), range(10), (0, 1), ("test",)
        )
    ]
    return Record("coordinates", pd.DataFrame(rows))


def outcomes() -> Record:
    shares = {"refusal": (1.0, 0.25, 0.75), "over_refusal": (0.0, 0.0, 0.125)}
    rows = [
        {"model": "m", "arm": arm, "condition": condition, "measure": measure, "value": values[place]}
        | {"low": float("nan"), "high": float("nan"), "n": 10}
        for measure, values in shares.items()
        for place, (arm, condition) in enumerate(PANELS)
    ]
    return Record("outcomes", pd.DataFrame(rows))


def test_each_half_holds_its_prompts_at_the_last_layer() -> None:
    figure: Any = draw(coordinates(), threshold={1: 50.0})
    assert len(figure.data) == 6
    for place in range(3):
        harmful, harmless = figure.data[2 * place : 2 * place + 2]
        assert (harmful.name, harmless.name) == ("harmful", "harmless")
        assert (harmful.side, harmless.side) == ("positive", "negative")
        assert list(harmful.y) == pytest.approx([100 + place + 0.01 * pair for pair in range(1, 10, 2)])
        assert list(harmless.y) == pytest.approx([place + 0.01 * pair for pair in range(0, 10, 2)])
    assert [line.y0 for line in figure.layout.shapes] == [50.0] * 3
    assert max(draw(coordinates(), layer=0).data[0].y) < 1


def test_titles_tell_the_shares_that_are_refused() -> None:
    titles = [note.text for note in draw(coordinates(), outcomes()).layout.annotations]
    assert "harmful refused 25.0%" in titles[1] and "harmless refused 12.5%" in titles[2]
    assert "corrected" in titles[2] and "refused" not in draw(coordinates()).layout.annotations[0].text


def test_a_run_without_a_correction_has_no_such_figure() -> None:
    with pytest.raises(ConfigError, match="no images under the fixed correction"):
        draw(coordinates(PANELS[:2]))


def test_the_caption_counts_the_prompts_of_a_half() -> None:
    assert "5 prompts per half" in caption(coordinates())
