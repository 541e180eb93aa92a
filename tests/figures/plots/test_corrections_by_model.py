"""A row for each model in order of its attack success, a dot for each correction, the same colour in every panel."""

from typing import Any

import pandas as pd
import pytest

from regap.analyses.runs.records import Record
from regap.figures.plots.corrections_by_model import caption, draw

BARE = {"low": 0.2, "high": 0.8, "middle": 0.5}
LIMITED = ("gate alone, within budgets", "one pass, within budgets")


def record(others: tuple[str, ...] = LIMITED) -> Record:
    rows = [
        {"model": model, "correction": name, "measure": measure, "n": 40}
        | {
            "value": value / (1 + place),
            "low": value / (1 + place) - 0.05,
            "high": value / (1 + place) + 0.05,
        }
        for model, value in BARE.items()
        for place, name in enumerate(("nothing", "last token", *others, "rival: cast"))
        for measure in ("attack_success", "over_refusal")
    ]
    return Record("model_corrections", pd.DataFrame(rows))


def traces(name: str, **kinds: Any) -> list[Any]:
    figure: Any = draw(record(**kinds))
    return [trace for trace in figure.data if trace.name == name]


def test_models_are_in_order_of_attack_success_without_correction() -> None:
    figure: Any = draw(record())
    assert list(figure.layout.yaxis.ticktext) == ["low", "middle", "high"]
    first = traces("no correction")[0]
    assert sorted(zip(first.y, first.x, strict=True)) == sorted(
        zip([-0.27, 1.73, 0.73], BARE.values(), strict=True)
    )


def test_each_correction_has_its_value_interval_and_one_name_in_the_legend() -> None:
    found = traces("one pass, within budgets")
    assert len(found) == 2 and [trace.showlegend for trace in found] == [True, False]
    assert list(found[0].x) == pytest.approx([value / 4 for value in BARE.values()])
    assert list(found[0].error_x.array) == pytest.approx([0.05] * 3)
    assert len({trace.marker.color for trace in found}) == 1


def test_rivals_are_left_to_the_tables() -> None:
    figure: Any = draw(record())
    assert not any("cast" in trace.name for trace in figure.data)


def test_without_budgets_the_others_are_drawn() -> None:
    assert len(traces("one pass", others=("gate alone", "one pass"))) == 2
    assert not traces("one pass", others=("one pass", "one pass, within budgets"))


def test_the_caption_counts_models_and_prompts() -> None:
    assert "3 models; n = 40 prompts per estimate" in caption(record())
