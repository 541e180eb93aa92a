"""Judged answers of the model under each method, and the time they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from time import perf_counter

from regap.analyses.comparison.choice import ChosenDefence
from regap.analyses.judges.verdicts import Judged, judge_all
from regap.analyses.runs.captions import with_captions
from regap.analyses.runs.measured import Measured, sampling_of
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.runner import Runner
from regap.interventions.generation import generate
from regap.interventions.rewriting import Rewrite, Rewritten, generate_rewritten

TIMED_PAIRS, ROUNDS = 16, 3
"""Number of test prompts for the relative time, and of rounds, whose median is taken."""


@dataclass(frozen=True, eq=False)
class DefenceAnswers:
    """Judged answers of test pairs under each method, and the number of further answers."""

    judged: Mapping[str, tuple[Judged, ...]] = field(repr=False)
    extra: Mapping[str, float]
    """Answers generated for each input besides the final one, by methods that ask the model."""


def answers_of(seen: Measured, chosen: Sequence[ChosenDefence], pairs: Pairs) -> DefenceAnswers:
    """Return the answers to these pairs in the corrected arm under each method, with the same budget and judge."""
    arm = seen.image_arm
    edited = {one.name: one.edits for one in chosen if not one.rewrite}
    judged, extra = dict(seen.answers(arm, edited, pairs)), {}
    asked = pairs.where(arm=arm)
    for one in chosen:
        if one.rewrite:
            runner = seen.runner.within("answers").named(f"answers, {arm}, {one.name}")
            found = _rewritten(seen, runner, one.rewrite, asked)
            judged[one.name] = judge_all(seen.judge, asked, found.completions)
            extra[one.name] = found.extra
    return DefenceAnswers({one.name: judged[one.name] for one in chosen}, extra)


def relative_times(seen: Measured, chosen: Sequence[ChosenDefence]) -> dict[str, float]:
    """Return the answering time under each method, as a multiple of that with no defence; medians of rounds.

    Further passes and answers are included, and captions if the model makes them.
    """
    asked = seen.pairs.test.where(arm=seen.image_arm)
    asked = Pairs(asked.pairs[:: max(1, len(asked) // TIMED_PAIRS)][:TIMED_PAIRS])
    unkept = seen.runner.kept_in(None).telling(None)

    def seconds(one: ChosenDefence) -> float:
        start = perf_counter()
        if "caption" in one.entry.looks_at and "caption" in seen.config.make:
            with_captions(unkept, _without_captions(asked), seen.image_arm)
        if one.rewrite:
            _rewritten(seen, unkept, one.rewrite, asked)
        else:
            budget, sampling = seen.config.max_new_tokens, sampling_of(seen.config)
            generate(unkept, asked, seen.image_arm, one.edits, max_new_tokens=budget, sampling=sampling)
        return perf_counter() - start

    seconds(chosen[0])
    rounds = [{one.name: seconds(one) for one in chosen} for _ in range(ROUNDS)]
    return {one.name: median(each[one.name] / each["none"] for each in rounds) for one in chosen}


def _rewritten(seen: Measured, runner: Runner, rewrite: Rewrite, asked: Pairs) -> Rewritten:
    budget, sampling = seen.config.max_new_tokens, sampling_of(seen.config)
    return generate_rewritten(
        runner, asked, seen.image_arm, rewrite, max_new_tokens=budget, sampling=sampling
    )


def _without_captions(pairs: Pairs) -> Pairs:
    bare = [
        replace(pair, prompts={arm: prompt for arm, prompt in pair.prompts.items() if arm != "caption"})
        for pair in pairs
    ]
    return Pairs(tuple(bare))
