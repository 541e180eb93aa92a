"""The example notebook runs as it stands, from its first cell to its last, and shows what it says."""

import ast
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image


def cells(root: Path) -> Iterator[str]:
    """The code of each cell, in order."""
    notebook = json.loads((root / "docs" / "example.ipynb").read_text("utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"])


def run_cell(source: str, names: dict[str, Any]) -> object:
    """Run a cell as a notebook does: the value of its last expression is what it shows."""
    body = ast.parse(source).body
    last = body[-1]
    shown = last.value if isinstance(last, ast.Expr) else None
    exec(compile(ast.Module(body[:-1] if shown else body, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(shown), "cell", "eval"), names) if shown else None


@pytest.fixture(scope="module")
def shown(root: Path) -> dict[type, list[Any]]:
    names: dict[str, Any] = {"__name__": "notebook"}
    found: dict[type, list[Any]] = {}
    with redirect_stdout(StringIO()) as printed:
        for source in cells(root):
            value = run_cell(source, names)
            found.setdefault(type(value), []).append(value)
    return {**found, StringIO: [printed.getvalue()]}


def test_it_shows_a_figure_a_picture_and_a_table(shown: dict[type, list[Any]]) -> None:
    assert len(shown[go.Figure]) == 1 and len(shown[go.Figure][0].data) == 6
    assert isinstance(shown[Image.Image][0], Image.Image)
    assert set(shown[pd.DataFrame][0].arm) == {"text", "typographic", "blank"}


def test_the_collapse_and_the_correction_are_in_it(shown: dict[type, list[Any]]) -> None:
    table = shown[pd.DataFrame][0]
    last = table[table.layer == 11].set_index("arm").value
    assert last["text"] > last["blank"] > last["typographic"]
    answers = [line.split("|") for line in shown[StringIO][0].splitlines()[1:]]
    assert len(answers) == 6 and any(before.strip() != after.strip() for before, after in answers)


def test_no_output_is_stored_in_it(root: Path) -> None:
    notebook = json.loads((root / "docs" / "example.ipynb").read_text("utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"])
