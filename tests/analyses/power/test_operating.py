"""Each criterion is met in at most 5 % of false worlds and in at least 80 % of true ones, at the size of the demo."""

import pytest

from regap.analyses.claims.criteria import criteria
from regap.analyses.power.operating import (
    FALSE_AT_MOST,
    TRUE_AT_LEAST,
    WORLDS,
    characteristic,
    enough,
)
from regap.analyses.power.world import Sizes, World
from regap.errors import ConfigError

DEMO = Sizes(harmful=200, harmless=300, doses=100)
RUNS = 60


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: f"{world.claim}: {world.name}")
def test_a_claim_holds_where_it_is_true_and_seldom_where_it_is_not(world: World) -> None:
    holds = characteristic(world, DEMO, RUNS).holds.value
    assert holds >= TRUE_AT_LEAST if world.true else holds <= FALSE_AT_MOST


def test_every_claim_has_true_worlds_and_several_false_ones() -> None:
    for claim in criteria():
        own = [world.true for world in WORLDS if world.claim == claim]
        assert own.count(True) >= 1 and own.count(False) >= 3, claim


def test_the_same_seed_gives_the_same_verdicts() -> None:
    world = next(one for one in WORLDS if one.claim == "drift_causes" and one.true)
    small = Sizes(30, 30, 30)
    assert characteristic(world, small, 20).row == characteristic(world, small, 20).row
    assert 0 < characteristic(world, small, 20).holds.value < 1  # something is left to vary


def test_few_requests_decide_less_and_enough_are_found() -> None:
    world = next(one for one in WORLDS if one.claim == "collapse" and one.true)
    few = Sizes(6, 6, 6)
    assert characteristic(world, few, 20).holds.value < TRUE_AT_LEAST
    found = enough(few, "collapse", 20)
    assert found and found.harmful > few.harmful
    assert characteristic(world, found, 20).holds.value >= TRUE_AT_LEAST


def test_too_few_requests_or_runs_are_refused() -> None:
    with pytest.raises(ConfigError, match="harmless is 4; give at least 5"):
        Sizes(9, 4, 9)
    with pytest.raises(ConfigError, match="runs is 1"):
        characteristic(WORLDS[0], DEMO, 1)
