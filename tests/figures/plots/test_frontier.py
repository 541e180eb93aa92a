"""A line in its band per way of correcting, at its over-refusals; gates on one signal wait in the legend."""

from typing import Any

import pandas as pd
import pytest

from regap.analyses.runs.records import Record
from regap.figures.plots.frontier import LOOKS, SHOWN, caption, draw

PLACES = (0.0, 0.05, 0.1)


def record(methods: tuple[str, ...] = tuple(LOOKS), models: tuple[str, ...] = ("m",)) -> Record:
    rows = [
        {"model": model, "arm": "typographic", "method": method, "over_refusal": place}
        | {"value": 0.5 - place, "low": 0.4 - place, "high": 0.6 - place, "n": 40 + number}
        for model in models
        for number, method in enumerate(methods)
        for place in reversed(PLACES)
    ]
    return Record("frontier", pd.DataFrame(rows))


def lines(found: Record) -> list[Any]:
    figure: Any = draw(found)
    return [trace for trace in figure.data if trace.mode == "lines+markers"]


def test_each_line_goes_through_its_values() -> None:
    for line in lines(record()):
        assert list(line.x) == list(PLACES)
        assert list(line.y) == pytest.approx([0.5, 0.45, 0.4])
    assert [line.name for line in lines(record())] == [label for label, _, _ in LOOKS.values()]


def test_what_the_claim_compares_is_shown_at_once() -> None:
    found = {line.name: line.visible for line in lines(record())}
    assert found == {label: True if name in SHOWN else "legendonly" for name, (label, _, _) in LOOKS.items()}


def test_several_models_have_a_menu_and_the_first_is_shown() -> None:
    figure: Any = draw(record(("fixed", "regap"), ("one", "two")))
    assert len(figure.layout.updatemenus) == 1
    assert [trace.visible for trace in figure.data] == [True] * 4 + [False] * 4


def test_a_method_with_a_hostile_name_is_shown_as_text() -> None:
    names = [line.name for line in lines(record(("<script>alert(1)</script>", "fixed")))]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in names and not any("<script" in name for name in names)


def test_the_caption_names_the_claim_and_counts_prompts() -> None:
    told = caption(record())
    assert "paper's claim" in told and "40" in told and "harmful prompts per estimate" in told
