"""A made-up run of very many items, to measure what the explorer does with it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from regap.analyses.tables.parquet_files import write_sealed_table

LAYERS = 32
ARMS = ("text", "typographic")


def crowd(folder: Path, items: int) -> Path:
    """A run folder of so many items in two arms: coordinates at 32 layers, answers and verdicts."""
    generator = np.random.default_rng(0)
    pairs = items // len(ARMS)
    names = pa.array([f"pair-{place:06d}" for place in range(pairs)])
    pair = np.repeat(np.tile(np.arange(pairs), len(ARMS)), LAYERS)
    arm = np.repeat(np.arange(len(ARMS)), pairs * LAYERS)
    harmful = pair % 2
    layer = np.tile(np.arange(LAYERS), items)
    noise = generator.normal(size=(2, items * LAYERS))
    chosen = {
        "model": coded(np.zeros_like(pair), ["crowd"]),
        "pair_id": coded(pair, names),
        "label": coded(harmful, ["harmless", "harmful"]),
        "category": coded(pair % 7, [f"category {place}" for place in range(7)]),
        "split": coded(pair % 3 == 0, ["test", "calibration"]),
        "arm": coded(arm, ARMS),
        "condition": coded(np.zeros_like(pair), ["baseline"]),
        "layer": layer,
        "refusal": noise[0] + harmful * layer / 8 * (1 - 0.6 * arm),
        "drift": arm + 0.3 * noise[1],
    }
    (folder / "tables").mkdir(parents=True)
    save(chosen, folder / "tables" / "coordinates.parquet")
    one = pair[::LAYERS], arm[::LAYERS]
    key = {"model": "crowd", "condition": "baseline", "arm": np.array(ARMS)[one[1]]}
    key |= {"pair_id": np.array(names)[one[0]]}
    said = pd.DataFrame({**key, "text": "an answer of some length", "tokens": 5, "finished": True})
    verdict = np.array(["refused", "complied"])[(one[0] // 2 + one[1]) % 2]
    judged = pd.DataFrame({**key, "label": "harmful", "judge": "j", "verdict": verdict, "reason": ""})
    save(said, folder / "tables" / "completions.parquet")
    save(judged, folder / "tables" / "verdicts.parquet")
    return folder


def coded(codes: np.ndarray, names: object) -> pa.DictionaryArray:
    """A column of texts by their codes."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(names))


def save(columns: dict | pd.DataFrame, path: Path) -> None:
    table = pa.Table.from_pandas(columns) if isinstance(columns, pd.DataFrame) else pa.table(columns)
    plain = [
        (field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type)
        for field in table.schema
    ]
    write_sealed_table(path, table.cast(pa.schema(plain)))
