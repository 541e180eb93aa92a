"""Run folders to explore: one full of hostile texts, an empty one, and ones with some tables alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import hostile_run
import numpy as np
import pyarrow as pa
import pytest
import torch

from regap.analyses.runs.folder import write_json
from regap.analyses.runs.records import Record
from regap.analyses.tables.parquet_files import write_sealed_table
from regap.figures.explorer.run.explored import ExploredRun
from regap.geometry.states.store import write_tensors


@pytest.fixture(scope="session")
def explored_folder(planted_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every table of a run, its items hostile; not to be written into."""
    folder = tmp_path_factory.mktemp("explored") / "first"
    shutil.copytree(planted_run, folder)
    for name, table in (
        ("coordinates", hostile_run.coordinates()),
        ("completions", hostile_run.completions()),
        ("verdicts", hostile_run.verdicts()),
        ("ablation", hostile_run.ablation()),
    ):
        Record(name, table).save(folder)
    write_sealed_table(folder / "prompts.parquet", pa.Table.from_pandas(hostile_run.prompts()))
    drift, refusal = np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32)
    drift[:, :2], refusal[:, 0] = (3.0, 4.0), 1.0
    vectors = {"refusal": torch.from_numpy(refusal), "drift.typographic": torch.from_numpy(drift)}
    write_tensors(folder / "directions.safetensors", vectors, {}, exact=True)
    summary = json.loads((folder / "summary.json").read_text())
    summary |= {"image_arm": "typographic", "fixed": {"site": {"layers": [1], "positions": "last"}}}
    summary["regap"] = {
        "site": {"layers": [0], "positions": "image"},
        "strongest": 2.5,
        "part": "D_across",
    }
    summary["regap"]["gate"] = {"kind": "line"}
    write_json(folder / "summary.json", summary)
    return folder


@pytest.fixture(scope="session")
def explored(explored_folder: Path) -> ExploredRun:
    return ExploredRun(explored_folder)


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was just begun."""
    folder = tmp_path_factory.mktemp("empty") / "begun"
    (folder / "tables").mkdir(parents=True)
    return folder


@pytest.fixture
def with_tables(explored_folder: Path, tmp_path: Path) -> Callable[..., ExploredRun]:
    """Makes a run with only these of the tables."""

    def make(*names: str) -> ExploredRun:
        (tmp_path / "tables").mkdir()
        for name in names:
            shutil.copy(explored_folder / "tables" / f"{name}.parquet", tmp_path / "tables")
        return ExploredRun(tmp_path)

    return make
