"""How a long step says how far it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int], None]
"""Is told how many more prompts are done."""
Tracker = Callable[[str, int], Advance]
"""(what is being done, how many prompts in all) -> how to say that some are done."""


def silent(stage: str, total: int) -> Advance:  # noqa: ARG001 - a tracker that shows nothing
    """Return a function that tells nobody."""
    return lambda done: None  # noqa: ARG005


@contextmanager
def progress_bars(console: Console) -> Iterator[Tracker]:
    """Yield a tracker that shows one bar a stage, with the time left."""
    columns = (TextColumn("{task.description:<46}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:

        def track(stage: str, total: int) -> Advance:
            task = progress.add_task(stage, total=total)
            return lambda done: progress.advance(task, done)

        yield track
