"""Defences that rewrite prompts and leave the model unedited."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.geometry.forward.runner import Runner, silent
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import prompt_digest, render
from regap.interventions.decoding import Sampling
from regap.interventions.generation import Completion, generate

Ask = Callable[[Sequence[Prompt], int], Sequence[str]]
"""(prompts, most tokens of an answer) -> the model's answer to each; repeated questions are not run again."""


Rewrite = Callable[[Sequence[Prompt], Ask, int], Sequence[Prompt]]
"""(prompts, ask, most tokens of a final answer) -> a rewritten prompt for each, in order; it may ask the model."""


@dataclass(frozen=True)
class Rewritten:
    """The final answers, and the number of answers that the model generated for them."""

    completions: tuple[Completion, ...]
    asked: int
    """Number of prompts that the model answered, including the final ones."""

    @property
    def extra(self) -> float:
        """Answers generated for each input besides the final one."""
        return self.asked / len(self.completions) - 1


def generate_rewritten(
    model: Model | Runner,
    pairs: Pairs,
    arm: str,
    rewrite: Rewrite,
    *,
    max_new_tokens: int = 64,
    sampling: Sampling | None = None,
) -> Rewritten:
    """Return the completion of every pair in the arm, after rewriting its prompt, in the order of the pairs.

    Decoding is greedy unless `sampling` is given. A runner with a store does not generate answers again for the same
    model, prompts, budget and sampling.
    """
    having = list(pairs.where(arm=arm))
    runner = Runner.of(model)
    advance = runner.track(f"answers, {arm}", len(having))
    asking = _Asking(replace(runner, track=silent), sampling)
    prompts = [pair.prompts[arm] for pair in having]
    rewritten = rewrite(prompts, asking.texts, max_new_tokens)
    if len(rewritten) != len(prompts):
        raise ValueError(
            f"{len(prompts)} prompts became {len(rewritten)}; a rewriting must return one for each"
        )
    answers = asking(rewritten, max_new_tokens)
    advance(len(having))
    named = zip(having, answers, strict=True)
    found = tuple(replace(answer, pair_id=pair.pair_id, arm=arm, pair=pair) for pair, answer in named)
    return Rewritten(found, len(asking.known))


@dataclass
class _Asking:
    """Asks the unedited model; answers are kept by prompt and budget."""

    runner: Runner
    sampling: Sampling | None = None
    known: dict[tuple[str, int], Completion] = field(default_factory=dict)

    def texts(self, prompts: Sequence[Prompt], budget: int) -> list[str]:
        return [answer.text for answer in self(prompts, budget)]

    def __call__(self, prompts: Sequence[Prompt], budget: int) -> list[Completion]:
        keys = [prompt_digest(render(self.runner.model, prompt), prompt) for prompt in prompts]
        new = {
            key: prompt for key, prompt in zip(keys, prompts, strict=True) if (key, budget) not in self.known
        }
        if new:
            # A pair needs a label, a request and an arm, which are not used here.
            asked = [
                Pair(key, "harmless", "asked", "asked", "test", {"asked": prompt})
                for key, prompt in new.items()
            ]
            answers = generate(
                self.runner, Pairs(tuple(asked)), "asked", max_new_tokens=budget, sampling=self.sampling
            )
            self.known |= {(answer.pair_id, budget): answer for answer in answers}
        return [self.known[key, budget] for key in keys]
