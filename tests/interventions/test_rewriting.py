"""Rewritten prompts are answered as if they had been asked; what is asked twice is run once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from regap.geometry.data.pairs import Pairs, Prompt
from regap.geometry.forward.runner import Runner
from regap.geometry.models.loading import Model
from regap.interventions.generation import generate
from regap.interventions.rewriting import Ask, generate_rewritten


@dataclass(frozen=True)
class Shortened:
    """Harmful by a rule of the test: every second prompt is asked in words, after it was answered once."""

    identity: str = "shortened"

    def __call__(self, prompts: Sequence[Prompt], ask: Ask, budget: int) -> list[Prompt]:
        answers = ask(prompts, budget)
        assert len(answers) == len(prompts) and ask(prompts, budget) == answers
        return [Prompt("please sing") if row % 2 else prompt for row, prompt in enumerate(prompts)]


def test_answers_are_those_of_the_rewritten_prompts(tiny: Model, tiny_pairs: Pairs) -> None:
    asked = tiny_pairs.test.first(3)
    found = generate_rewritten(tiny, asked, "typographic", Shortened(), max_new_tokens=4)
    as_it_is = generate(tiny, asked, "typographic", max_new_tokens=4)
    sung = generate(
        tiny,
        Pairs(tuple(replace(pair, prompts={"text": Prompt("please sing")}) for pair in asked)),
        "text",
        max_new_tokens=4,
    )
    for row, answer in enumerate(found.completions):
        expected = sung[row] if row % 2 else as_it_is[row]
        assert answer == replace(expected, arm="typographic")
    # Six prompts, and one that three of them became: five written beyond those that count would be too many.
    assert found.asked == 7 and found.extra == pytest.approx(1 / 6)


def test_a_rewriting_that_loses_a_prompt_is_refused(tiny: Model, tiny_pairs: Pairs) -> None:
    class Lossy:
        identity = "lossy"

        def __call__(self, prompts: Sequence[Prompt], ask: Ask, budget: int) -> Sequence[Prompt]:  # noqa: ARG002
            return prompts[1:]

    with pytest.raises(ValueError, match="6 prompts became 5; a rewriting must return one for each"):
        generate_rewritten(tiny, tiny_pairs.test.first(3), "typographic", Lossy(), max_new_tokens=2)


def test_what_is_kept_is_not_written_again(tiny: Model, tiny_pairs: Pairs, tmp_path: Path) -> None:
    asked = tiny_pairs.test.first(2)
    runner = Runner(tiny, store=tmp_path)
    first = generate_rewritten(runner, asked, "typographic", Shortened(), max_new_tokens=3)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert stamps
    again = generate_rewritten(runner, asked, "typographic", Shortened(), max_new_tokens=3)
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
