"""How long the explorer takes over 100,000 items and 32 layers: the first view, a layer step, a click, a page."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from crowd import crowd

from regap.figures.explorer.app import VIEWS
from regap.figures.explorer.detail import detail
from regap.figures.explorer.run.explored import ExploredRun
from regap.figures.explorer.run.query import Query, resolved

FIRST, STEP = 2.0, 0.2
"""Seconds that the first view and everything after it may take."""
MANY, FEW = 100_000, 2_000


@pytest.fixture(scope="module")
def timed(request: pytest.FixtureRequest) -> bool:
    """True under `make benchmark`: then with the whole crowd and within the limits; else with a small one."""
    return bool(request.config.getoption("benchmark_enable")) or not request.config.getoption(
        "benchmark_disable"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, timed: bool) -> Path:
    return crowd(tmp_path_factory.mktemp("crowd") / "run", MANY if timed else FEW)


@pytest.fixture(scope="module")
def run(folder: Path) -> ExploredRun:
    """The run after its first view."""
    found = ExploredRun(folder)
    shown(found, Query())
    return found


def shown(run: ExploredRun, query: Query) -> int:
    """Everything between an address and what the browser is sent; returns how many bytes that is."""
    figure = VIEWS[query.view].show(run, resolved(query, run)).figure
    return len(figure.to_json()) if figure else 0


def within(limit: float, timed: bool, do: Callable[[], object]) -> None:
    """The processor time of one call stays below the limit, when it is measured at all."""
    start = time.process_time()
    do()
    assert not timed or time.process_time() - start < limit


def test_first_view(benchmark, folder: Path, timed: bool) -> None:
    benchmark.pedantic(lambda: shown(ExploredRun(folder), Query()), rounds=3)
    within(FIRST, timed, lambda: shown(ExploredRun(folder), Query()))


@pytest.mark.parametrize("view", ["plane", "trajectories"])
def test_layer_step(benchmark, run: ExploredRun, timed: bool, view: str) -> None:
    layers = iter(range(32 * 100))

    def step() -> int:
        return shown(run, Query(view, layer=next(layers) % 32))

    step()
    benchmark.pedantic(step, rounds=7)
    within(STEP, timed, step)
    assert step() < 1_000_000  # bytes


def test_filter_by_verdict(benchmark, run: ExploredRun, timed: bool) -> None:
    query = Query(verdict="refused", label="harmful", arm=("text",))
    shown(run, query)
    benchmark.pedantic(lambda: shown(run, query), rounds=5)
    within(STEP, timed, lambda: shown(run, query))


def test_page_of_items(benchmark, run: ExploredRun, timed: bool) -> None:
    shown(run, Query("items"))
    benchmark.pedantic(lambda: shown(run, Query("items", page=7)), rounds=5)
    within(STEP, timed, lambda: shown(run, Query("items", page=9)))


def test_click(benchmark, run: ExploredRun, timed: bool) -> None:
    query = resolved(Query(item="pair-000123"), run)
    detail(run, query)
    benchmark.pedantic(lambda: detail(run, query), rounds=5)
    within(STEP, timed, lambda: detail(run, query))
