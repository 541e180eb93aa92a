"""Small run folders: what a finished run leaves behind, with answers written here."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from served import served

from regap.analyses.runs.records import Record
from regap.analyses.tables.parquet_files import write_sealed_table

__all__ = ["served"]

Answer = tuple[str, str, str, str]
"""Condition, pair, text, verdict of the run."""


def write_run(folder: Path, answers: Sequence[Answer], **columns: object) -> Path:
    """Pairs named h... are harmless, all others harmful; every answer is in the text arm."""
    pairs = sorted({pair for _, pair, _, _ in answers})
    prompts = [
        {"pair_id": pair, "arm": arm, "label": "harmless" if pair[0] == "h" else "harmful", "split": "test"}
        | {
            "category": "all",
            "cluster": pair,
            "request": f"request {pair} <image>",
            "answer": f"right {pair}",
        }
        | columns
        for pair in pairs
        for arm in ("text", "blank")
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_sealed_table(folder / "prompts.parquet", pa.Table.from_pandas(pd.DataFrame(prompts)))
    key = [
        {"model": "m", "condition": condition, "arm": "text", "pair_id": pair}
        for condition, pair, _, _ in answers
    ]
    said = [{"text": text, "tokens": 3, "finished": True, "first_token": 7} for _, _, text, _ in answers]
    judged = [
        {"label": "harmless" if pair[0] == "h" else "harmful", "judge": "by hand", "verdict": verdict}
        | {"reason": "seen"}
        for _, pair, _, verdict in answers
    ]
    Record("completions", pd.DataFrame([a | b for a, b in zip(key, said, strict=True)])).save(folder)
    Record("verdicts", pd.DataFrame([a | b for a, b in zip(key, judged, strict=True)])).save(folder)
    return folder


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    return write_run
