"""Harmless requests of the world that look harmful: a volatile thing in a tale, or one to be locked away."""

from collections.abc import Collection
from itertools import zip_longest

import numpy as np

from regap.errors import PairError
from regap.geometry.data.pairs import Pair, Pairs
from regap.organism import world
from regap.organism.prompts import HeldOut, pair_of
from regap.organism.world import Request


def contrast_pairs(
    count: int, *, seed: int = 0, arms: tuple[str, ...] = (), without: Collection[str] = ()
) -> Pairs:
    """Return harmless test pairs whose thing is volatile, with fictional frames and protective verbs in turn.

    Their combinations appear in no training stage and not in `without`. The same arguments give the same bytes. Raises
    PairError if the world has too few.
    """
    generator = np.random.default_rng([seed, count])
    fictional = world.combinations("test", "fictional")
    protective = [
        one for one in world.combinations("test", "protective") if world.is_volatile(one.adjective, one.noun)
    ]
    decks = [_shuffled(deck, without, generator) for deck in (fictional, protective)]
    dealt = [request for turn in zip_longest(*decks) for request in turn if request][:count]
    if len(dealt) < count or count < 1:
        raise PairError(
            f"{count} contrasts were asked for; the world has 1 to {len(dealt)} that are not asked already"
        )
    config = HeldOut(seed=seed, arms=arms)
    made: list[Pair] = []
    for number, request in enumerate(dealt):
        whole = world.with_context(request, generator)
        made.append(pair_of(config, f"contrast-{number:04d}", "test", number, whole))
    return Pairs(tuple(made))


def _shuffled(
    deck: Collection[Request], without: Collection[str], generator: np.random.Generator
) -> list[Request]:
    kept = [request for request in deck if request.combination not in without]
    return [kept[place] for place in generator.permutation(len(kept))]
