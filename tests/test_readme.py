"""The first example of the README runs as it stands, on the bundled model, and names nothing deeper than regap."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest


def examples(root: Path) -> list[str]:
    """The Python blocks of the README, in their order."""
    return re.findall(r"```python\n(.*?)```", (root / "README.md").read_text("utf-8"), flags=re.DOTALL)


def test_nothing_deeper_than_the_front_door_is_imported(root: Path) -> None:
    blocks = examples(root)
    assert blocks and all("from regap" not in block and "import regap." not in block for block in blocks)


def test_the_first_example_runs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from regap.geometry.data.pair_files import write_pairs
    from regap.organism.prompts import HeldOut, held_out_pairs

    monkeypatch.chdir(tmp_path)
    write_pairs(held_out_pairs(HeldOut(calibration=20, test_harmful=8, test_harmless=8)), "pairs.parquet")
    code, *_ = examples(root)
    known: dict[str, Any] = {}
    lines = [line.partition("  #")[0] for line in code.splitlines()]
    tables = {}
    for line in lines:
        name = re.match(r"rg\.(separability|judge|ablate)\(", line)
        if name:
            tables[name[1]] = eval(line, known)
        else:
            exec(line, known)
    assert all(isinstance(table, pd.DataFrame) and len(table) for table in tables.values())
    assert set(tables) == {"separability", "judge", "ablate"}
    assert known["rg"].load_edit("my_edit").identity == known["edit"].identity
