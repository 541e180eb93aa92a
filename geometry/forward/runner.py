"""A runner: a model with its limits, the store of its results, and the display of its progress."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from regap.geometry.models.model import Model

Advance = Callable[[int], None]
"""Called with the number of prompts that were completed."""
Tracker = Callable[[str, int], Advance]
"""(name of the stage, number of prompts) -> a function to report completed prompts."""


def silent(stage: str, total: int) -> Advance:  # noqa: ARG001 - a tracker that shows nothing
    """Return a function that reports nothing."""
    return lambda done: None  # noqa: ARG005


@dataclass(frozen=True)
class Limits:
    """How much a model processes at once; results depend on it only by rounding."""

    prompts: int = 64
    """Most prompts in one forward pass."""
    answers: int = 128
    """Most prompts that are answered in one batch."""
    tokens: int = 16384
    """Most tokens in one forward pass, padding included."""
    bytes_in_memory: int = 2**30
    """If the states of one arm take more bytes, they stay in the store, if there is one, and are read in parts."""

    def __post_init__(self) -> None:
        for name, least in (("prompts", 1), ("answers", 1), ("tokens", 1), ("bytes_in_memory", 0)):
            given = getattr(self, name)
            if not isinstance(given, int) or given < least:
                raise ValueError(f"{name} is {given!r}; give a whole number, at least {least}")


@dataclass(frozen=True, eq=False)
class Runner:
    """A model with the settings of how it is run; none of them changes what is measured."""

    model: Model
    limits: Limits = Limits()
    store: str | Path | None = None
    """Folder of computed states and answers, so that none is computed twice; None to keep nothing."""
    track: Tracker = field(default=silent, repr=False)

    @property
    def folder(self) -> Path | None:
        """The store as a path."""
        return None if self.store is None else Path(self.store)

    @classmethod
    def of(cls, given: "Model | Runner") -> "Runner":
        """Return a runner unchanged, and a model as a runner with the default limits."""
        return given if isinstance(given, Runner) else cls(given)

    def named(self, stage: str) -> "Runner":
        """Return the same runner with its progress shown under this name."""
        return replace(self, track=lambda _, total: self.track(stage, total))

    def telling(self, advance: Advance | None) -> "Runner":
        """Return the same runner with its progress reported to this function; None reports nothing."""
        return replace(self, track=silent if advance is None else lambda _stage, _total: advance)

    def kept_in(self, store: str | Path | None) -> "Runner":
        """Return the same runner with results kept in this folder."""
        return replace(self, store=store)

    def within(self, name: str) -> "Runner":
        """Return the same runner with results kept in this subfolder of its store, if it has a store."""
        return self.kept_in(self.folder / name if self.folder else None)
