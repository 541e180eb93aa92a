"""Small run folders, as those that judges are tried on."""

from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """Writes a finished run in small: see tests/analyses/judges/conftest.py."""
    place = Path(__file__).parent.parent / "judges" / "conftest.py"
    spec: Any = spec_from_file_location("small_runs", place)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_run
