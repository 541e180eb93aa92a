"""The families under test, and the parity table at the end: `pytest tests/families`."""

from typing import Any

import pytest
from parity import DTYPES, MEASURES, RESULTS, Subject, subject
from tiny_models import FAMILIES


@pytest.fixture(
    scope="module",
    params=[pytest.param((family, dtype), id=f"{family}-{dtype}") for family in FAMILIES for dtype in DTYPES],
)
def of(request: pytest.FixtureRequest) -> Subject:
    return subject(*request.param)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was measured: largest differences, relative to the largest number compared."""
    if not RESULTS:
        return
    terminalreporter.section("parity with Hugging Face: largest relative difference")
    rows = [["family", "format", *MEASURES]]
    rows += [[*key, *(found.get(measure, "-") for measure in MEASURES)] for key, found in RESULTS.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        terminalreporter.write_line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        )
