"""A runner: a model, the limits within which it runs, where its results are kept, and how its progress is told."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from regap.geometry.models.model import Model

Advance = Callable[[int], None]
"""Is told how many more prompts are done."""
Tracker = Callable[[str, int], Advance]
"""(what is being done, how many prompts in all) -> how to say that some are done."""


def silent(stage: str, total: int) -> Advance:  # noqa: ARG001 - a tracker that shows nothing
    """Return a function that tells nobody."""
    return lambda done: None  # noqa: ARG005


@dataclass(frozen=True)
class Limits:
    """How much goes through a model at once; results depend on it by rounding alone."""

    prompts: int = 64
    """Most prompts in one forward pass."""
    answers: int = 128
    """Most prompts that are answered together."""
    tokens: int = 16384
    """Most tokens in one forward pass, padding counted."""
    bytes_in_memory: int = 2**30
    """States of one arm that take more bytes stay in the store, if there is one, and are read part by part."""

    def __post_init__(self) -> None:
        for name, least in (("prompts", 1), ("answers", 1), ("tokens", 1), ("bytes_in_memory", 0)):
            given = getattr(self, name)
            if not isinstance(given, int) or given < least:
                raise ValueError(f"{name} is {given!r}; give a whole number, at least {least}")


@dataclass(frozen=True, eq=False)
class Runner:
    """A model with everything that says how it is run, and nothing that changes what is measured."""

    model: Model
    limits: Limits = Limits()
    store: Path | None = None
    """Folder in which states and answers are kept, so that none is computed twice; None keeps nothing."""
    track: Tracker = field(default=silent, repr=False)

    @classmethod
    def of(cls, given: "Model | Runner") -> "Runner":
        """Return a runner as it is, and a model as a runner with the default limits."""
        return given if isinstance(given, Runner) else cls(given)

    def named(self, stage: str) -> "Runner":
        """Return the same runner, whose progress is told under this name."""
        return replace(self, track=lambda _, total: self.track(stage, total))

    def telling(self, advance: Advance | None) -> "Runner":
        """Return the same runner, whose progress goes to this function; to nobody if None."""
        return replace(self, track=silent if advance is None else lambda _stage, _total: advance)

    def kept_in(self, store: str | Path | None) -> "Runner":
        """Return the same runner with results kept in this folder."""
        return replace(self, store=None if store is None else Path(store))

    def within(self, name: str) -> "Runner":
        """Return the same runner that keeps results in a folder of this name inside its own, if it has one."""
        return self.kept_in(self.store / name if self.store else None)
