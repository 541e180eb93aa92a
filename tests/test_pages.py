"""The code on the pages runs as it stands on the bundled model, and names nothing deeper than regap."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ALONE = ["python", "method", "pairs", "ablation"]
"""Pages whose code needs nothing but the bundled model; blocks on a finished run are tested elsewhere."""


def code_of(page: Path) -> list[str]:
    """The Python blocks of a page, or the code cells of a notebook, in their order."""
    text = page.read_text("utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_one_import_is_enough(root: Path) -> None:
    pages = [*(root / "docs").glob("*.md"), *(root / "docs").glob("*.ipynb"), root / "README.md"]
    blocks = {page.name: code_of(page) for page in pages}
    assert sum(map(len, blocks.values())) > 20
    deeper = re.compile(r"(from|import) regap\b(?! as rg$)", re.MULTILINE)
    assert [name for name, found in blocks.items() if any(map(deeper.search, found))] == []


@pytest.mark.parametrize("name", ALONE)
def test_the_code_of_a_page_runs(
    name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = [block for block in code_of(root / "docs" / f"{name}.md") if "runs/demo" not in block]
    assert blocks
    for block in blocks:
        exec(compile(block, f"docs/{name}.md", "exec"), names)
    if name == "python":
        assert {"refused", "complied"} & set(names["rg"].judge(names["answers"]).verdict)
        assert len(names["answers"]) == 3 * len(names["pairs"].test)
