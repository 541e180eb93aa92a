"""Cells lie where their layer and component are, colours are centred at 0, and intervals are in the hover text."""

from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from regap.analyses.runs.records import Record
from regap.figures.gallery import write_figures
from regap.figures.plots import ablation, sweep


@pytest.fixture
def planted_ablation() -> Record:
    rows = []
    cells = product(
        ("attention", "mlp"), (0, 1, 2), ("harmful", "harmless"), ("none", "random"), ("z", "log_odds")
    )
    for component, layer, label, control, measure in cells:
        value = (layer if component == "attention" else -0.05) * (control == "none")
        known = {"model": "m", "arm": "typographic", "component": component, "head": -1, "positions": "last"}
        known |= {"replacement": "patch-text", "control": control, "layers": str(layer), "layer": layer}
        known |= {"label": label, "measure": measure, "n": 40}
        for read in (1, 2) if measure == "z" else (-1,):
            rows.append(
                {**known, "read_layer": read, "value": value, "low": value - 0.125, "high": value + 0.125}
            )
    return Record("ablation", pd.DataFrame(rows))


def test_each_cell_has_its_value_and_its_interval(planted_ablation: Record) -> None:
    figure: Any = ablation.draw(planted_ablation)
    first = figure.data[0]
    assert list(first.y) == ["attention", "MLP", "attention (random, equal norm)", "MLP (random, equal norm)"]
    assert list(first.x) == [0, 1, 2]
    assert list(first.z[0]) == [0.0, 1.0, 2.0] and list(first.z[3]) == [0.0, 0.0, 0.0]
    assert list(first.customdata[0][2]) == [1.875, 2.125, 40]
    assert (first.zmin, first.zmax) == (-2.0, 2.0)
    assert list(first.text[0]) == ["·", "", ""] and list(first.text[1]) == ["·", "·", "·"]
    assert "customdata[0]" in first.hovertemplate


def test_a_menu_chooses_the_quantity_and_z_is_that_of_the_last_block(planted_ablation: Record) -> None:
    figure = ablation.draw(planted_ablation)
    assert [button.label for button in figure.layout.updatemenus[0].buttons] == [
        "log-odds of a refusal, first token",
        "refusal coordinate z, last block",
    ]
    assert [trace.visible for trace in figure.data] == [True, True, False, False]
    assert set(ablation.at_last_block(planted_ablation.table).read_layer) == {-1, 2}


def test_of_two_models_each_is_read_at_its_own_last_block(planted_ablation: Record) -> None:
    deeper = planted_ablation.table.assign(model="m2")
    deeper["read_layer"] = deeper["read_layer"].where(deeper["measure"] != "z", deeper["read_layer"] + 3)
    found = ablation.at_last_block(pd.concat([planted_ablation.table, deeper]))
    z = found[found["measure"] == "z"]
    assert z.groupby("model")["read_layer"].unique().map(list).to_dict() == {"m": [2], "m2": [5]}


def test_heads_and_positions_are_lines_of_their_own() -> None:
    row = {
        "component": "head",
        "head": 3,
        "positions": "image",
        "layers": "2-4",
        "layer": 2,
        "control": "none",
    }
    assert ablation.line_of(row, places=True) == "head 3 of 2-4 at image"
    assert ablation.line_of(row | {"layers": "2"}, places=False) == "head 3"


def test_a_sweep_lies_by_layer_and_strength(planted_ablation: Record, run_folder: Path) -> None:
    rows = [
        {"model": "m", "arm": "typographic", "vector": vector, "layer": layer, "alpha": alpha, "label": label}
        | {"measure": measure, "value": 0.25 * alpha, "low": 0.0, "high": 1.0, "n": 40}
        for vector, layer, alpha, label, measure in product(
            ("D", "random"), (0, 1), (0.0, 1.0, 2.0), ("harmful", "harmless"), ("z", "first_token")
        )
    ]
    swept = Record("sweep", pd.DataFrame(rows))
    first: Any = sweep.draw(swept).data[0]
    assert list(first.y) == ["α = 2", "α = 1", "α = 0"] and list(first.z[0]) == [0.5, 0.5]
    assert (first.zmin, first.zmax) == (0, 1)
    assert "image prompts with α times the vector" in sweep.caption(swept)
    assert "patched with itself" in ablation.caption(planted_ablation)
    planted_ablation.save(run_folder)
    swept.save(run_folder)
    assert {"ablation", "sweep"} <= {path.stem for path in write_figures(run_folder)}
