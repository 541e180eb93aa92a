"""A hundred changed files for every reader of outside files: each is read, or refused in one clear line."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

COUNT = 100


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", Path(__file__).parent / "fuzz.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_reader_fails_on_changed_files(fuzz: ModuleType, tmp_path: Path) -> None:
    for reader in fuzz.readers(tmp_path):
        failed, told = fuzz.tried(reader, COUNT)
        assert not failed, (reader.name, told)


def test_a_reader_that_believes_everything_or_fails_raw_is_found(fuzz: ModuleType, tmp_path: Path) -> None:
    believing = fuzz.Reader("believing", (b"{}",), lambda *_: None, sealed=True)
    failing = fuzz.Reader("failing", (b"{}",), lambda *given: {b"{}": 1}[given[0]])
    for reader in (believing, failing):
        assert fuzz.tried(reader, 20)[0] > 10
