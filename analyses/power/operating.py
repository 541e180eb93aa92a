"""Operating characteristics of the criteria: how often each is met in worlds where the claim is false and is true."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from regap.analyses.claims.criteria import criteria, criteria_digest
from regap.analyses.power.answer_worlds import ANSWER_WORLDS
from regap.analyses.power.geometry_worlds import GEOMETRY_WORLDS
from regap.analyses.power.world import Draws, Sizes, World
from regap.analyses.runs.questions import Question, save_answer
from regap.analyses.runs.records import Record
from regap.errors import ConfigError
from regap.geometry.estimates import Estimate, proportion
from regap.geometry.forward.runner import Tracker, silent
from regap.geometry.sole_writer import sole_writer

WORLDS = (*GEOMETRY_WORLDS, *ANSWER_WORLDS)
FALSE_AT_MOST, TRUE_AT_LEAST = 0.05, 0.8
"""Share of false worlds in which a claim may hold, and of true worlds in which it should."""
FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Multiples of the asked sizes that are tried to find how many requests a claim takes."""


@dataclass(frozen=True)
class Characteristic:
    """How often one criterion is met in one world, at some sizes."""

    world: World
    sizes: Sizes
    holds: Estimate
    """Share of simulated runs with the verdict "holds"; exact binomial interval at 0 and 1."""

    @property
    def row(self) -> dict[str, Any]:
        """Its row in the table."""
        claim = self.world.claim
        kind = "true" if self.world.true else "false"
        known = {
            "claim": claim,
            "version": criteria()[claim].version,
            "world": self.world.name,
            "truth": kind,
        }
        return {**known, **vars(self.sizes), **vars(self.holds)}


def characteristic(world: World, sizes: Sizes, runs: int, seed: int = 0) -> Characteristic:
    """Return how often the criterion is met in this world; the same seed gives the same runs."""
    if runs < 2:
        raise ConfigError(f"runs is {runs}; simulate at least 2 runs a world")
    named = f"{world.claim}: {world.name}".encode()
    generators = np.random.default_rng([seed, *named]).spawn(runs)
    met = [world.run(Draws(sizes, each)).verdict == "holds" for each in generators]
    share = proportion(torch.tensor(met), [str(place) for place in range(runs)], seed)
    return Characteristic(world, sizes, share)


def characteristics(
    sizes: Sizes, runs: int, seed: int = 0, worlds: Iterable[World] = WORLDS, track: Tracker = silent
) -> list[Characteristic]:
    """Return the characteristics of every world at these sizes."""
    chosen, found = tuple(worlds), []
    advance = track("simulated worlds", len(chosen))
    for world in chosen:
        found.append(characteristic(world, sizes, runs, seed))
        advance(1)
    return found


def enough(sizes: Sizes, claim: str, runs: int, seed: int = 0) -> Sizes | None:
    """Return the smallest tried multiple of the sizes at which the claim holds in 80 % of its first true world.

    None if even the largest does not reach it.
    """
    world = next(one for one in WORLDS if one.claim == claim and one.true)
    for factor in FACTORS:
        try:
            tried = sizes.times(factor)
        except ConfigError:
            continue  # below the fewest requests
        if characteristic(world, tried, runs, seed).holds.value >= TRUE_AT_LEAST:
            return tried
    return None


def keep(run_folder: Path, found: Sequence[Characteristic], runs: int, seed: int) -> Question:
    """Write the table `operating_characteristics` as an answer of a run."""
    record = Record("operating_characteristics", pd.DataFrame([one.row for one in found]))
    settings = {**vars(found[0].sizes), "runs": runs, "seed": seed, "criteria": criteria_digest()}
    with sole_writer(run_folder):
        return save_answer(run_folder, "power", settings, [record])
