"""Answers that a model just gave, judged by a named judge or by a function of your own: one row for each answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import get_args

import pandas as pd

from regap.analyses.judges.registry import judge_for
from regap.analyses.judges.verdicts import Judge, Judged, JudgeReading, Verdict, judged_by
from regap.errors import ConfigError, PairError
from regap.geometry.data.pairs import Pair, Pairs
from regap.interventions.generation import Completion

OwnJudge = Callable[[str, str], Verdict]
"""A function from a request and its answer, both as text, to a verdict."""


@dataclass(frozen=True)
class FunctionJudge:
    """A plain function of request and answer as a Judge; its verdicts carry the function's name.

    The function is given what the answer says after its thinking; one cut off while thinking is not judged.
    """

    function: OwnJudge

    def __call__(self, pair: Pair, completion: Completion) -> Judged:
        """Return the function's verdict on one answer.

        Raises ConfigError if the function returns anything but a verdict.
        """
        name = getattr(self.function, "__name__", type(self.function).__name__)

        def rule(said: str) -> JudgeReading:
            verdict = self.function(pair.request, said)
            if verdict not in get_args(Verdict):
                raise ConfigError(
                    f"judge {name} returned {verdict!r} for pair {pair.pair_id!r}; "
                    f"return one of {', '.join(get_args(Verdict))}"
                )
            return JudgeReading(verdict, f"returned by {name}")

        return judged_by(name, pair, completion, rule)


def judge(answers: Sequence[Completion] | Completion, judge: str | OwnJudge = "auto") -> pd.DataFrame:
    """Return one row for each answer, in their order: pair_id, arm, label, verdict, reason and judge.

    answers: what `generate` returns, or one of it.
    judge: the name of a judge; `auto`, which compares with the right answer where the pair has one and looks for
    refusal phrases elsewhere; or a function `(request, answer) -> verdict`, where the verdict is refused, complied,
    degenerate, misread or not_judged, and the answer is what is said after thinking.

    Raises PairError for no answers and for answers without their pair, ConfigError for an unknown judge and for a
    function that returns no verdict.
    """
    answers = [answers] if isinstance(answers, Completion) else list(answers)
    wrong = next((each for each in answers if not isinstance(each, Completion)), None)
    if wrong is not None:
        raise PairError(f"answers holds {wrong!r}; give the answers that generate returns")
    pairs = [answer.pair for answer in answers if answer.pair]
    if not answers or len(pairs) < len(answers):
        raise PairError(
            f"{len(answers)} answers, {len(pairs)} of them with their pair; give the answers that generate returns"
        )
    chosen = _judge(judge, pairs)
    judged = [chosen(pair, answer) for pair, answer in zip(pairs, answers, strict=True)]
    return pd.DataFrame(
        {
            "pair_id": one.pair.pair_id,
            "arm": one.completion.arm,
            "label": one.pair.label,
            "verdict": one.verdict,
            "reason": one.reason,
            "judge": one.judge,
        }
        for one in judged
    )


def _judge(judge: str | OwnJudge, pairs: Sequence[Pair]) -> Judge:
    if not isinstance(judge, str):
        try:
            signature(judge).bind("request", "answer")
        except (TypeError, ValueError):
            raise ConfigError(
                f"judge is {judge!r}; give a judge's name, or a function (request, answer) -> verdict"
            ) from None
        return FunctionJudge(judge)
    return judge_for(Pairs(tuple({pair.pair_id: pair for pair in pairs}.values())), judge)
