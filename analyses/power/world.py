"""A simulated world: numbers as a run would measure them, with a known truth, judged by the run's own criterion."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from regap.analyses.claims.claim import Claim
from regap.errors import ConfigError
from regap.geometry.estimates import Resamples

RESAMPLES = 200
"""Bootstrap resamples in one simulated run; fewer than in a run, since only verdicts are counted."""
FEWEST = 5
"""Fewest test requests of a label that are simulated."""


@dataclass(frozen=True)
class Sizes:
    """Number of test requests; each is a cluster of its own."""

    harmful: int
    harmless: int
    doses: int
    """Harmful requests that are answered at each dose."""

    def __post_init__(self) -> None:
        for name, count in vars(self).items():
            if count < FEWEST:
                raise ConfigError(f"{name} is {count}; give at least {FEWEST} test requests")

    def times(self, factor: float) -> "Sizes":
        """Return sizes multiplied by a factor, rounded up."""
        return Sizes(*(int(np.ceil(count * factor)) for count in vars(self).values()))


@dataclass(frozen=True)
class Draws:
    """The random numbers of one simulated run, and its prompts: harmful ones first."""

    sizes: Sizes
    generator: np.random.Generator

    @property
    def harmful(self) -> Bool[Tensor, " prompt"]:
        """True for harmful prompts."""
        return torch.arange(self.sizes.harmful + self.sizes.harmless) < self.sizes.harmful

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers."""
        return torch.from_numpy(self.generator.standard_normal(shape))

    def uniform(self, *shape: int) -> Tensor:
        """Return numbers between 0 and 1."""
        return torch.from_numpy(self.generator.random(shape))

    def resamples(self, harmful: Bool[Tensor, " prompt"]) -> Resamples:
        """Return resamples of these prompts."""
        seed = int(self.generator.integers(2**32))
        return Resamples.of([str(place) for place in range(len(harmful))], harmful, RESAMPLES, seed)


@dataclass(frozen=True)
class World:
    """One way the world could be, and whether the claim is true in it."""

    claim: str
    name: str
    true: bool
    run: Callable[[Draws], Claim]
    """Simulates one run and judges it."""
