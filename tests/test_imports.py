"""The rule of folders, read from the import statements: geometry reads, interventions write, analyses ask,
figures show, commands stand on top, and a folder imports only what comes before it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

MAY_IMPORT = {
    "geometry": {"geometry"},
    "interventions": {"geometry", "interventions"},
    "organism": {"geometry", "organism"},
    "analyses": {"geometry", "interventions", "organism", "analyses"},
    "figures": {"geometry", "analyses", "figures"},
    "commands": {"geometry", "interventions", "organism", "analyses", "figures", "commands"},
}
EVERYWHERE = {"errors", "subjects", "__version__"}
"""What every folder may take from the front door. `subjects` knows the function of the organism's folder that finds a
subject's checkpoint, so that geometry can load it by name."""

# Figures are drawn on machines that never load a model.
NOT_IN_FIGURES = {"torch", "transformers"}

# The only files that know TransformerLens, figures least of all. A longer list means that it has leaked.
KNOWS_TRANSFORMER_LENS = {
    "geometry/models/bridge.py",
    "geometry/models/component_map.py",
    "geometry/models/loading.py",
}

IMPORT_ALL = """
import importlib, pkgutil, sys

package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(getattr(package, "__path__", []), package.__name__ + "."):
    importlib.import_module(module.name)
print(*{name.partition(".")[0] for name in sys.modules})
"""


@dataclass(frozen=True)
class Import:
    """One import: what is named, on which line, and whether it waits for a function to be called."""

    name: str
    line: int
    lazy: bool


def imports_of(node: ast.AST, lazy: bool = False) -> Iterator[Import]:
    """Every import under `node`; a relative one keeps its leading dots."""
    for child in ast.iter_child_nodes(node):
        for name in _named_by(child):
            yield Import(name, getattr(child, "lineno", 0), lazy)
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports_of(child, lazy or is_function)


def _named_by(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            module = [node.module] if node.module else []
            return ["." * node.level + ".".join([*module, alias.name]) for alias in node.names]
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
        case ast.Call(
            func=ast.Name(id="resolve_name") | ast.Attribute(attr="resolve_name"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name.replace(":", ".")]
    return []


def violations(path: str, source: str) -> list[str]:
    """What the file at `path`, relative to the top, does against the rule; an empty list is a clean file."""
    found = imports_of(ast.parse(source, path))
    return [f"{path}:{each.line}: {why}" for each in found for why in _against_the_rule(path, each)]


def _against_the_rule(path: str, each: Import) -> Iterator[str]:
    folder = path.partition("/")[0]
    top, _, rest = each.name.partition(".")
    if top == "":
        yield f"relative import {each.name!r}: write `from regap.<folder>.<file> import ...`"
    if top in MAY_IMPORT:
        yield f"bare import of {top!r}: write `from regap.{top}...`"
    if each.name == "__future__.annotations":
        yield "shapes are checked, so annotations stay objects: no `from __future__ import annotations`"
    if folder not in MAY_IMPORT:
        return
    target = rest.partition(".")[0]
    allowed = target in MAY_IMPORT[folder] | EVERYWHERE
    if top == "regap" and not allowed:
        yield f"{folder} may not import regap.{target}"
    if folder == "figures" and top in NOT_IN_FIGURES:
        yield f"figures are drawn from tables and records alone: no {top}"
    if top == "transformer_lens" and path not in KNOWS_TRANSFORMER_LENS:
        yield f"only {', '.join(sorted(KNOWS_TRANSFORMER_LENS))} import transformer_lens"


def test_every_file_keeps_the_rule_of_folders(root: Path, project_files: list[Path]) -> None:
    sources = [path for path in project_files if path.suffix == ".py"]
    assert {path.parts[0] for path in sources} >= set(MAY_IMPORT)
    found = [violations(path.as_posix(), (root / path).read_text("utf-8")) for path in sources]
    assert not any(found), "\n".join(line for lines in found for line in lines)


def loaded_with(package: str) -> set[str]:
    """The top-level modules of a python of its own once it has imported all of `package`."""
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL, package], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_figures_load_no_model_through_what_they_import() -> None:
    assert not loaded_with("regap.figures") & {"torch", "transformers", "transformer_lens"}


def test_a_model_library_would_be_seen() -> None:
    assert "torch" in loaded_with("torch.version")


PLANTED = [
    ("geometry/x.py", "from regap.interventions.apply import applied", "may not import regap.interventions"),
    ("geometry/x.py", "import regap.figures.drawing.style", "may not import regap.figures"),
    ("geometry/x.py", "from regap import analyses", "may not import regap.analyses"),
    ("geometry/x.py", "def f():\n    import regap.organism", "may not import regap.organism"),
    ("interventions/x.py", "from regap.organism.world import World", "may not import regap.organism"),
    ("organism/x.py", "from regap.interventions.apply import applied", "may not import regap.interventions"),
    ("analyses/x.py", "def f():\n    from regap.figures import style", "may not import regap.figures"),
    ("analyses/x.py", "from regap.commands import run", "may not import regap.commands"),
    ("figures/x.py", "def f():\n    from regap.commands import run", "may not import regap.commands"),
    ("analyses/x.py", "import_module('regap.figures.drawing.style')", "may not import regap.figures"),
    ("analyses/x.py", "importlib.import_module('regap.figures')", "may not import regap.figures"),
    ("geometry/x.py", "resolve_name('regap.organism.world:World')", "may not import regap.organism"),
    ("figures/x.py", "from regap.interventions.apply import applied", "may not import regap.interventions"),
    ("figures/x.py", "import torch.nn", "no torch"),
    ("figures/x.py", "if True:\n    from torch import Tensor", "no torch"),
    ("figures/x.py", "from transformers import AutoConfig", "no transformers"),
    ("figures/x.py", "import transformer_lens", "import transformer_lens"),
    ("analyses/x.py", "def f():\n    import transformer_lens", "import transformer_lens"),
    ("geometry/x.py", "from .pairs import Pair", "relative import '.pairs.Pair'"),
    ("geometry/x.py", "from . import pairs", "relative import '.pairs'"),
    ("geometry/x.py", "from __future__ import annotations", "annotations stay objects"),
    ("tests/geometry/test_x.py", "import geometry", "bare import of 'geometry'"),
    ("tests/geometry/test_x.py", "from figures.style import colour", "bare import of 'figures'"),
]


@pytest.mark.parametrize(("path", "source", "why"), PLANTED)
def test_a_planted_violation_is_found_once(path: str, source: str, why: str) -> None:
    [found] = violations(path, source)
    assert found.startswith(f"{path}:{len(source.splitlines())}: ")
    assert why in found


ALLOWED = [
    (
        "geometry/models/loading.py",
        "import torch, transformer_lens\nfrom regap.geometry.data.pairs import Pair",
    ),
    ("interventions/x.py", "from regap.geometry import pairs\nfrom regap.interventions import apply"),
    ("organism/x.py", "import torch\nfrom regap.geometry.data.pairs import Pair"),
    ("analyses/x.py", "import regap.geometry.data.pairs, regap.interventions.apply, regap.organism.world"),
    ("commands/command_line.py", "def f():\n    from regap.figures import style"),
    ("commands/draw.py", "def f():\n    import regap.figures.drawing.style"),
    (
        "figures/x.py",
        "import plotly\nfrom regap.analyses.runs.records import Record\nfrom regap import figures",
    ),
    ("tests/figures/test_x.py", "import torch\nfrom regap.figures import style\nimport regap.organism"),
]


@pytest.mark.parametrize(("path", "source"), ALLOWED)
def test_what_the_rule_allows_is_not_found(path: str, source: str) -> None:
    assert violations(path, source) == []
