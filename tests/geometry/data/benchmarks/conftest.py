"""Every benchmark by name, written as it is distributed and read back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from layouts import LAYOUTS


@pytest.fixture
def distributed(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a benchmark as it is distributed, in small, and says where."""

    def write(name: str) -> Path:
        folder = tmp_path / "download"
        folder.mkdir(exist_ok=True)
        LAYOUTS[name](folder)
        return folder

    return write


@pytest.fixture
def read(distributed: Callable[[str], Path]) -> Callable[..., Any]:
    """Writes a benchmark and reads it; in small, it never has the published counts."""
    from regap.geometry.data.benchmarks.loading import benchmark

    def load(name: str, **options: Any) -> Any:
        return benchmark(name, distributed(name), allow_partial=True, **options)

    return load
