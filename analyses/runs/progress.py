"""How a long step says how far it is."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from regap.geometry.forward.runner import Advance, Tracker


@contextmanager
def progress_bars(console: Console) -> Iterator[Tracker]:
    """Yield a tracker that shows one bar a stage, with the time left."""
    columns = (TextColumn("{task.description:<46}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:

        def track(stage: str, total: int) -> Advance:
            task = progress.add_task(stage, total=total)
            return lambda done: progress.advance(task, done)

        yield track
