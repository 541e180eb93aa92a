"""Jobs run to their end, in turn or at the same time; one that fails is an error and stops the rest."""

import queue
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from regap.organism.workers import Job, _Post, run_jobs


@dataclass(frozen=True)
class Failing(Exception):
    pass


def _fail(report) -> None:
    report("broken", 1, 2, 0.5)
    raise Failing


def test_jobs_in_turn_run_on_one_thread_and_leave_the_setting_as_it_was():
    before, seen = torch.get_num_threads(), []

    def work(report) -> None:
        seen.append(torch.get_num_threads())

    jobs = [Job(name, 1, work) for name in "ab"]
    run_jobs(jobs, at_a_time=1)
    assert seen == [1, 1]
    assert torch.get_num_threads() == before


def test_a_failing_job_in_turn_is_an_error():
    with pytest.raises(Failing):
        run_jobs([Job("broken", 2, _fail)], at_a_time=1)


def test_a_job_in_a_process_of_its_own_that_fails_is_named(tmp_path):
    # A job that cannot be called with `report=` fails inside the other process.
    broken = Job("broken", 1, partial(Path.touch, tmp_path / "never"))
    with pytest.raises(RuntimeError, match="stage 'broken' ended with exit code 1"):
        run_jobs([broken], at_a_time=2)


def test_a_worker_whose_parent_was_killed_ends(monkeypatch):
    """The same command given again would else write to the same file beside it."""
    for alive, sent in ((True, 1), (False, 0)):
        parent = SimpleNamespace(is_alive=lambda alive=alive: alive)
        monkeypatch.setattr("multiprocessing.parent_process", lambda parent=parent: parent)
        mail = queue.Queue()
        with nullcontext() if alive else pytest.raises(SystemExit):
            _Post(mail)("text", 1, 2, 0.5)
        assert mail.qsize() == sent
