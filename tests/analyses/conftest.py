"""Judged answers to small made-up pairs."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from regap.analyses.judges.verdicts import Judged
from regap.geometry.data.pairs import Pair, Prompt
from regap.interventions.generation import Completion

Judge = Callable[..., Judged]


def pair(pair_id: str, label: Any = "harmful", answer: str | None = None, cluster: str = "") -> Pair:
    return Pair(pair_id, label, "kind", "a request", "test", {"text": Prompt("a request")}, answer, cluster)


def completion(pair_id: str, text: str) -> Completion:
    return Completion(pair_id, "text", text, len(text.split()), True, 0)


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., Pair]:
    return pair


@pytest.fixture(scope="session")
def make_completion() -> Callable[..., Completion]:
    return completion


@pytest.fixture(scope="session")
def make_judged() -> Callable[[Sequence[tuple[str, str]]], list[Judged]]:
    """Makes judged answers of (label, verdict); each pair is its own cluster unless a third part names one."""

    def make(cells: Sequence[tuple[Any, ...]]) -> list[Judged]:
        made = []
        for place, (label, verdict, *cluster) in enumerate(cells):
            asked = pair(f"p{place}", label, cluster=cluster[0] if cluster else "")
            made.append(Judged(asked, completion(asked.pair_id, ""), "by hand", verdict, ""))
        return made

    return make
