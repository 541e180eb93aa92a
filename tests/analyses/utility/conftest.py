"""Made-up answers to benchmarks that publish a rule."""

from collections.abc import Callable, Sequence

import pytest

from regap.analyses.judges.verdicts import Judged
from regap.analyses.utility.marking import RULES, Marked
from regap.geometry.data.pairs import Pair, Picture, Prompt
from regap.interventions.generation import Completion

Cell = tuple[str, str, str]
"""Name within the benchmark, right answer, what was answered."""


def pair_of(benchmark: str, name: str, answer: str, request: str = "a question") -> Pair:
    """A pair whose category is the first part of its name, and whose cluster the rest but for its last part."""
    cluster = name.replace("+", "-").rpartition("-")[0] or name
    prompts = {"picture": Prompt(f"<image>\n{request}", (Picture(b"not opened"),))}
    return Pair(
        f"{benchmark}/{name}", "harmless", name.split("-")[0], request, "test", prompts, answer, cluster
    )


@pytest.fixture(scope="session")
def mark() -> Callable[..., list[Marked]]:
    def make(benchmark: str, cells: Sequence[Cell], request: str = "a question") -> list[Marked]:
        rule = RULES[benchmark]
        return [rule.marks(pair_of(benchmark, name, answer, request), text) for name, answer, text in cells]

    return make


@pytest.fixture(scope="session")
def judge_answers() -> Callable[..., list[Judged]]:
    def make(benchmark: str, cells: Sequence[Cell], request: str = "a question") -> list[Judged]:
        made = []
        for name, answer, text in cells:
            pair = pair_of(benchmark, name, answer, request)
            said = Completion(pair.pair_id, "picture", text, 1, True, 0)
            made.append(Judged(pair, said, "by hand", "complied", ""))
        return made

    return make
