"""What regap needs is declared in pyproject.toml, and constraints.txt has a tested version of all of it."""

import ast
import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Builds of torch for accelerators pin these to the version themselves.
PINNED_BY_TORCH = ("cuda-", "nvidia-", "triton")


@pytest.fixture(scope="module")
def product(root: Path) -> dict[str, Requirement]:
    """What a user may install, by canonical name."""
    return declared(root, "static", "audio", "english")


@pytest.fixture(scope="module")
def everything(root: Path) -> dict[str, Requirement]:
    """The same with what development needs."""
    return declared(root, "static", "audio", "english", "dev", "benchmark")


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, str]:
    lines = (root / "constraints.txt").read_text("utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def declared(root: Path, *extras: str) -> dict[str, Requirement]:
    table = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    optional = [line for extra in extras for line in table["optional-dependencies"][extra]]
    requirements = map(Requirement, [*table["dependencies"], *optional])
    return {canonicalize_name(each.name): each for each in requirements}


@cache
def providers() -> Mapping[str, list[str]]:
    """Which distributions provide which top-level module."""
    return packages_distributions()


def imported(source: str) -> set[str]:
    """The top-level names of all absolute imports, wherever they stand."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    members = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in plain | members}


def undeclared_in(root: Path, files: list[Path], names: Mapping[str, Requirement]) -> dict[str, set[str]]:
    """What each of the Python files imports undeclared, for those that do."""
    sources = {path.as_posix(): (root / path).read_text("utf-8") for path in files if path.suffix == ".py"}
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    shared = {each.stem for folder in settings["pythonpath"] for each in (root / folder).glob("*.py")}
    beside = {path: {each.stem for each in (root / path).parent.glob("*.py")} for path in sources}
    beside |= {path: found | shared for path, found in beside.items() if path.startswith("tests/")}
    found = {path: undeclared(source, names) - beside[path] for path, source in sources.items()}
    return {path: missing for path, missing in found.items() if missing}


def undeclared(source: str, names: Mapping[str, Requirement]) -> set[str]:
    """Imports of `source` that none of the named distributions provides."""
    outside = imported(source) - set(sys.stdlib_module_names) - {"regap"}
    provided_by = {each: set(map(canonicalize_name, providers().get(each, []))) for each in outside}
    return {each for each, distributions in provided_by.items() if not distributions & names.keys()}


def needed_in_turn(requirement: Requirement) -> list[Requirement]:
    """What the installed distribution asks for, given the extras it is asked with."""
    try:
        asked = map(Requirement, distribution(requirement.name).requires or [])
    except PackageNotFoundError:  # an extra that this environment goes without
        return []
    contexts = [{"extra": extra} for extra in requirement.extras | {""}]
    return [each for each in asked if not each.marker or any(map(each.marker.evaluate, contexts))]


def closure(requirements: Mapping[str, Requirement]) -> set[str]:
    """The canonical names of `requirements` and of all they need in turn, as installed here."""
    todo, seen = list(requirements.values()), set()
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key not in seen:
            seen.add(key)
            todo += needed_in_turn(requirement)
    return {name for name, _ in seen}


def test_every_import_is_declared(
    root: Path, project_files: list[Path], product: dict, everything: dict
) -> None:
    tests = [path for path in project_files if path.parts[0] in {"tests", ".ci"}]
    assert undeclared_in(root, sorted(set(project_files) - set(tests)), product) == {}
    assert undeclared_in(root, tests, everything) == {}


def test_an_undeclared_import_is_found(product: dict) -> None:
    source = "import torch, os\nif os:\n  from PIL import Image\n  import pytest\n  import nowhere.at_all"
    assert undeclared(source, product) == {"pytest", "nowhere"}


def test_everything_needed_has_a_tested_version(everything: dict, pins: dict) -> None:
    needed = closure(everything)
    assert needed > everything.keys()
    assert {name for name in needed - pins.keys() if not name.startswith(PINNED_BY_TORCH)} == set()


def test_tested_versions_are_within_the_declared_ranges(everything: dict, pins: dict) -> None:
    assert [str(each) for name, each in everything.items() if pins[name] not in each.specifier] == []


def test_tested_versions_are_of_no_particular_build(pins: dict) -> None:
    """A local version such as 2.13.0+cpu is on one machine only."""
    assert [each for each in pins.values() if not re.fullmatch(r"[0-9.]+((a|b|rc)[0-9]+)?", each)] == []
