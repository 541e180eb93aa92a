"""What the documents name exists, and no file names a machine it was written on."""

import re
from pathlib import Path

import pytest

MACHINE = re.compile(
    rb"(?<![\w.:/>)\]}])[/](work|root|tmp|home)(?![\w-])"  # an absolute path, but not the end of a longer one
    rb"|pypi[.]org|python[h]osted|download[.]pytorch|npmjs[.]"
)

documents = pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])


def targets(root: Path) -> set[str]:
    return set(re.findall(r"^(\w+):", (root / "Makefile").read_text("utf-8"), re.MULTILINE))


@documents
def test_the_commands_in_a_document_exist(root: Path, document: str) -> None:
    text = (root / document).read_text("utf-8")
    assert set(re.findall(r"(?:`|^[ $]*)make (\w+)", text, re.MULTILINE)) <= targets(root)


def test_the_promised_commands_exist(root: Path) -> None:
    assert {"demo", "test", "check", "build", "benchmark", "clean"} <= targets(root)


@documents
def test_the_paths_in_a_document_exist(root: Path, document: str) -> None:
    text = (root / document).read_text("utf-8")
    told = re.findall(r"`((?:geometry|interventions|analyses|figures|organism|tests)/[\w./-]*)`", text)
    assert [path for path in told if not (root / path).exists()] == []


def test_no_file_names_a_machine_or_a_registry(root: Path, project_files: list[Path]) -> None:
    assert [path for path in project_files if MACHINE.search((root / path).read_bytes())] == []


PLANTED = ["cd {}work/main", "'{}tmp/x'", "{}root", "https:{0}{0}files.python{1}.org"]
INNOCENT = ["and/or/work", "https://a.org/work", "tests/tmp/x", "/workshop", "{folder}/tmp"]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_machine_is_found(planted: str) -> None:
    assert MACHINE.search(planted.format("/", "hosted").encode())


@pytest.mark.parametrize("innocent", INNOCENT)
def test_an_innocent_slash_is_not_found(innocent: str) -> None:
    assert not MACHINE.search(innocent.encode())
