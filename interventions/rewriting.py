"""Defences that change what is asked instead of what happens inside: prompts are rewritten, the model is as it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.geometry.forward.runner import Runner, silent
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import prompt_digest, render
from regap.interventions.generation import Completion, generate

Ask = Callable[[Sequence[Prompt], int], Sequence[str]]
"""(prompts, tokens of an answer) -> what the model answers to each; what was asked before is not run again."""


@runtime_checkable
class Rewrite(Protocol):
    """From prompts to the prompts whose answers count; the model may be asked on the way."""

    @property
    def identity(self) -> str:
        """Digest of everything that decides what is asked."""
        ...

    def __call__(self, prompts: Sequence[Prompt], ask: Ask, budget: int) -> Sequence[Prompt]:
        """Return a prompt for each prompt, in their order; `budget` are the tokens of an answer that counts."""
        ...


@dataclass(frozen=True)
class Rewritten:
    """The answers that count, and how often the model wrote an answer for them."""

    completions: tuple[Completion, ...]
    asked: int
    """Prompts that were put to the model in all, those whose answers count among them."""

    @property
    def extra(self) -> float:
        """Answers written for each input beyond the one that counts."""
        return self.asked / len(self.completions) - 1


def generate_rewritten(
    model: Model | Runner,
    pairs: Pairs,
    arm: str,
    rewrite: Rewrite,
    *,
    max_new_tokens: int = 64,
) -> Rewritten:
    """Return the greedy completion of every pair in the arm, each prompt rewritten first, in the order of the pairs.

    A runner with a store answers no batch again that is there for the same model, prompts and budget.
    """
    having = list(pairs.where(arm=arm))
    runner = Runner.of(model)
    advance = runner.track(f"answers, {arm}", len(having))
    asking = _Asking(replace(runner, track=silent))
    prompts = [pair.prompts[arm] for pair in having]
    rewritten = rewrite(prompts, asking.texts, max_new_tokens)
    if len(rewritten) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts became {len(rewritten)}; a rewriting gives one for each")
    answers = asking(rewritten, max_new_tokens)
    advance(len(having))
    named = zip(having, answers, strict=True)
    found = tuple(replace(answer, pair_id=pair.pair_id, arm=arm, pair=pair) for pair, answer in named)
    return Rewritten(found, len(asking.known))


@dataclass
class _Asking:
    """The model as it is, put to prompts; what it answered is kept by prompt and budget."""

    runner: Runner
    known: dict[tuple[str, int], Completion] = field(default_factory=dict)

    def texts(self, prompts: Sequence[Prompt], budget: int) -> list[str]:
        return [answer.text for answer in self(prompts, budget)]

    def __call__(self, prompts: Sequence[Prompt], budget: int) -> list[Completion]:
        keys = [prompt_digest(render(self.runner.model, prompt), prompt) for prompt in prompts]
        new = {
            key: prompt for key, prompt in zip(keys, prompts, strict=True) if (key, budget) not in self.known
        }
        if new:
            # A pair has a label; nothing here reads it.
            asked = [
                Pair(key, "harmless", "asked", prompt.text, "test", {"text": prompt})
                for key, prompt in new.items()
            ]
            answers = generate(self.runner, Pairs(tuple(asked)), "text", max_new_tokens=budget)
            self.known |= {(answer.pair_id, budget): answer for answer in answers}
        return [self.known[key, budget] for key in keys]
