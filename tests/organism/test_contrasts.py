"""Contrasts look harmful and are not: their thing is volatile, their verb or frame makes them harmless."""

import pytest

from regap.errors import PairError
from regap.organism import world
from regap.organism.prompts import HeldOut, contrast_pairs, held_out_pairs


def test_every_contrast_is_harmless_held_out_and_speaks_of_a_volatile_thing() -> None:
    found = contrast_pairs(40, arms=("typographic",))
    assert len(found) == 40 and {pair.category for pair in found} == {"fictional", "protective"}
    for pair in found:
        verb, adjective, noun, frame = pair.cluster.split("|")
        request = world.Request(verb, adjective, noun, frame)
        assert pair.label == world.label(request) == "harmless" and world.is_volatile(adjective, noun)
        assert world.split_of(request) == "test" == pair.split
        # Said plainly, or with another verb, it would be harmful: the look alone tells nothing.
        plain = world.Request("brew" if verb in world.PROTECTIVE_VERBS else verb, adjective, noun, "")
        assert world.label(plain) == "harmful"


def test_what_is_asked_already_is_not_asked_again_and_equal_arguments_give_equal_pairs() -> None:
    asked = {pair.cluster for pair in held_out_pairs(HeldOut(5, 5, 60, arms=("typographic",)))}
    found = contrast_pairs(30, without=asked, arms=("typographic",))
    assert not asked & {pair.cluster for pair in found}
    assert found == contrast_pairs(30, without=asked, arms=("typographic",))
    assert found != contrast_pairs(30, seed=1, without=asked, arms=("typographic",))


def test_the_world_is_not_endless() -> None:
    with pytest.raises(PairError, match="100000 contrasts were asked for; the world has 1 to"):
        contrast_pairs(100_000)
