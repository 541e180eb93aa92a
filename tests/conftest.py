"""What every test runs under, and the project's files for the tests that read them."""

import os
from fnmatch import fnmatch
from pathlib import Path

import pytest

# Set before torch and the hub client are first imported, since both read these only then.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def project_files() -> list[Path]:
    """Every file git would keep, relative to the top; links are not followed."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()] + [".git"]

    def kept(name: str) -> bool:
        return not any(fnmatch(name, pattern) for pattern in ignored)

    found = []
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = sorted(filter(kept, subfolders))
        found += [Path(folder, name).relative_to(ROOT) for name in sorted(filter(kept, names))]
    return found
