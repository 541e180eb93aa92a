"""Some changed files for every reader of outside files: each is read, or refused in one clear line."""

from pathlib import Path

from changes import Reader, tried
from every_reader import readers

from regap.geometry.data.benchmarks.catalogue import CATALOGUE

COUNT = 100
OF_EACH_BENCHMARK = 20


def test_no_reader_fails_on_changed_files(tmp_path: Path) -> None:
    for reader in readers(tmp_path):
        failed, told = tried(reader, OF_EACH_BENCHMARK if "benchmark" in reader.name else COUNT)
        assert not failed, (reader.name, told)


def test_every_benchmark_has_a_reader(tmp_path: Path) -> None:
    names = {reader.name.removeprefix("benchmark ") for reader in readers(tmp_path)}
    assert {name for name, card in CATALOGUE.items() if not card.bundled} <= names


def test_a_reader_that_believes_everything_or_fails_raw_is_found() -> None:
    def fail(path: Path) -> int:
        return {b"{}": 1}[path.read_bytes()]

    believing = Reader("believing", {"a.json": b"{}"}, lambda _: None, sealed=True)
    for reader in (believing, Reader("failing", {"a.json": b"{}"}, fail)):
        assert tried(reader, 20)[0] > 10
