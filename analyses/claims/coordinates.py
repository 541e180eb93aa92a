"""Where every prompt lies: its refusal coordinate and its drift strength at every layer, under every condition."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from regap.analyses.runs.measured import Measured
from regap.analyses.runs.records import Record
from regap.geometry.states.activations import Activations


def coordinates_record(seen: Measured, states: Mapping[str, Mapping[str, Activations]]) -> Record:
    """Return one row per prompt, layer and condition; drift strength is along that of the corrected arm, or NaN."""
    tables = [
        _arm_coordinates(seen, condition, arm, of_arm)
        for condition, arms in states.items()
        for arm, of_arm in arms.items()
    ]
    return Record("coordinates", pd.concat(tables))


def _arm_coordinates(seen: Measured, condition: str, arm: str, states: Activations) -> pd.DataFrame:
    refusal = seen.refusal.coordinates(states)
    drift = seen.drift.strength(states) if seen.corrected_arm else torch.full_like(refusal, torch.nan)
    return pd.DataFrame(list(_coordinate_rows(states, refusal, drift))).assign(
        model=seen.model.name, arm=arm, condition=condition
    )


def _coordinate_rows(states: Activations, refusal: Tensor, drift: Tensor) -> Iterator[dict[str, Any]]:
    for row, z, delta in zip(states.rows, refusal.tolist(), drift.tolist(), strict=True):
        known = {"pair_id": row.pair_id, "label": row.label, "category": row.category, "split": row.split}
        for layer, coordinate, strength in zip(states.layers, z, delta, strict=True):
            yield known | {"layer": layer, "refusal": coordinate, "drift": strength}
