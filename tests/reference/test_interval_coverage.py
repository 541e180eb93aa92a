"""The table of coverage in docs/claims.md is rebuilt with fewer samples, and an interval that is too short is found."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from interval_coverage import CASES, coverage, share

from regap.geometry.estimates import Estimate

SAMPLES, PRINTED = 100, 1000


@pytest.fixture(scope="module")
def told(root: Path) -> dict[str, float]:
    lines = re.findall(
        r"^\| (.+?) \| (0\.\d{3}) \|$", (root / "docs" / "claims.md").read_text(), re.MULTILINE
    )
    return {name: float(value) for name, value in lines if name in CASES}


def test_the_page_has_every_interval(told: dict[str, float]) -> None:
    assert list(told) == list(CASES)


@pytest.mark.parametrize("name", list(CASES))
def test_the_table_is_rebuilt(name: str, told: dict[str, float]) -> None:
    """Within three standard errors of both simulations, and one sample for the steps of a share."""
    error = (told[name] * (1 - told[name]) * (1 / SAMPLES + 1 / PRINTED)) ** 0.5
    assert abs(coverage(name, SAMPLES, seed=1) - told[name]) <= 3 * error + 1 / SAMPLES


def test_an_interval_that_is_half_as_long_would_be_found() -> None:
    sample, drawn = share(0.5), np.random.default_rng(0)

    def halved(found: Estimate) -> tuple[float, float]:
        return (found.value + found.low) / 2, (found.value + found.high) / 2

    ends = [halved(sample(drawn)) for _ in range(SAMPLES)]
    assert sum(low <= 0.5 <= high for low, high in ends) / SAMPLES < 0.8
