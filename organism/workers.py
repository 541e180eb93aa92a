"""Several stages at the same time, each in a process with one thread, under one progress display."""

import multiprocessing
import queue
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers.utils.logging import disable_progress_bar


@dataclass(frozen=True)
class Job:
    """A training stage that can run in a process of its own."""

    name: str
    steps: int
    work: Callable[..., Any]
    """Called with `report=`. It must be picklable, because it is sent to another process."""


@dataclass(frozen=True)
class News:
    """A message from a running job to the display."""

    name: str
    step: int
    loss: float


@dataclass(frozen=True)
class _Post:
    """Puts a stage's reports on the queue to the display."""

    mail: Any

    def __call__(self, stage: str, step: int, steps: int, loss: float) -> None:  # noqa: ARG002
        parent = multiprocessing.parent_process()
        if parent and not parent.is_alive():  # it was killed; two trainings of one stage would share its file
            raise SystemExit(1)
        self.mail.put(News(stage, step, loss))


@dataclass(frozen=True)
class _Bar:
    """Moves a progress bar directly."""

    display: Progress
    bar: TaskID

    def __call__(self, stage: str, step: int, steps: int, loss: float) -> None:  # noqa: ARG002
        self.display.update(self.bar, completed=step, loss=loss)


def run_jobs(jobs: list[Job], at_a_time: int) -> None:
    """Run all jobs, several at a time, and return when all are done. A failed job stops the others and is an error."""
    if at_a_time == 1:
        run_in_turn(jobs)
        return
    context = multiprocessing.get_context("spawn")
    mail = context.Queue()
    waiting, running = list(jobs), {}
    with _display() as display:
        bars = {job.name: display.add_task(job.name, total=job.steps, loss=float("nan")) for job in jobs}
        try:
            while waiting or running:
                while waiting and len(running) < at_a_time:
                    job = waiting.pop(0)
                    process = context.Process(target=_run, args=(job, mail), name=job.name, daemon=True)
                    process.start()
                    running[job.name] = process
                _show(mail, display, bars)
                _reap(running)
            _show(mail, display, bars)
        finally:
            for process in running.values():
                process.terminate()


def run_in_turn(jobs: list[Job], threads: int = 1) -> None:
    """Run one job after the other in this process, each on this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with _display() as display:
            for job in jobs:
                bar = display.add_task(job.name, total=job.steps, loss=float("nan"))
                job.work(report=_Bar(display, bar))
    finally:
        torch.set_num_threads(before)


def _run(job: Job, mail: Any) -> None:
    torch.set_num_threads(1)
    disable_progress_bar()  # that of saved weights would be drawn into this display
    job.work(report=_Post(mail))


def _show(mail: Any, display: Progress, bars: dict[str, Any]) -> None:
    try:
        news = mail.get(timeout=0.5)
        while True:
            display.update(bars[news.name], completed=news.step, loss=news.loss)
            news = mail.get_nowait()
    except queue.Empty:
        return


def _reap(running: dict[str, BaseProcess]) -> None:
    for name, process in list(running.items()):
        if process.exitcode is None:
            continue
        del running[name]
        if process.exitcode != 0:
            raise RuntimeError(
                f"stage {name!r} ended with exit code {process.exitcode}; its error is printed above"
            )


def _display() -> Progress:
    return Progress(
        TextColumn("{task.description:>16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
