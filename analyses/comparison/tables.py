"""The answers of a comparison and its tables: outcomes, outcomes by category, settings, times, and methods left out.

Each method is compared with no defence on the same pairs: the change with its paired interval, the exact McNemar test,
corrected for the number of methods within each measure (Holm), and the smallest detectable change."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from time import perf_counter

import pandas as pd
import torch

from regap.analyses import statistics
from regap.analyses.comparison.choice import ChosenDefence
from regap.analyses.judges.verdicts import Judged, judge_all
from regap.analyses.outcomes import COUNTED, in_both, of_label, outcomes
from regap.analyses.runs.measured import Measured, sampling_of
from regap.analyses.runs.pairs import with_captions
from regap.analyses.runs.records import Record
from regap.errors import PairError
from regap.geometry.data.pairs import Pairs
from regap.geometry.estimates import proportion
from regap.geometry.forward.runner import Runner
from regap.interventions.defences.catalogue import METHODS
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


MEASURES = ("attack_success", "over_refusal", "refusal", "utility")
CONTRAST = "contrast_over_refusal"
"""Over-refusal of harmless prompts that look harmful."""
TESTED = ("change", "change_low", "change_high", "p", "detectable")
BY_CATEGORY = ("attack_success", "over_refusal", CONTRAST)


def outcome_table(seen: Measured, answers: DefenceAnswers, contrasts: DefenceAnswers | None = None) -> Record:
    """Return the table `methods`: each measure of each method, and its change from no defence."""
    rows = []
    for measure in (*MEASURES, CONTRAST) if contrasts else MEASURES:
        found = contrasts if contrasts and measure == CONTRAST else answers
        rows += [_row(seen, measure, name, found.judged) for name in found.judged]
    table = pd.DataFrame(rows).assign(model=seen.model.name, arm=seen.image_arm)
    table["p_holm"] = table.groupby("measure")["p"].transform(lambda p: holm_with_gaps(p.tolist()))
    return Record("methods", table)


def _row(
    seen: Measured, measure: str, name: str, judged: Mapping[str, Sequence[Judged]]
) -> dict[str, object]:
    counted, seed = counted_as(measure), seen.config.seed
    found = outcomes(judged[name], seed)
    if counted not in found:
        raise PairError(f"no answers of method {name} were judged for {measure}; choose another judge")
    tested: dict[str, float] = dict.fromkeys(TESTED, math.nan)  # no defence has no comparison
    if name != "none":
        tested = against(judged["none"], judged[name], counted, seed)
    return {"method": name, "measure": measure, **vars(found[counted]), **tested}


def counted_as(measure: str) -> str:
    """Return the measure that is counted: over-refusal for contrasts, else the measure itself."""
    return "over_refusal" if measure == CONTRAST else measure


def against(before: Sequence[Judged], after: Sequence[Judged], measure: str, seed: int) -> dict[str, float]:
    """Return the change of a measure with its paired interval, p-value and smallest detectable change.

    Only pairs judged in both are counted. Raises PairError if there are none.
    """
    turned, clusters = in_both(before, after, measure)
    if not clusters:
        raise PairError(f"no pair was judged with and without a defence for {measure}; choose another judge")
    found = statistics.difference(turned[:, 0], turned[:, 1], clusters, seed)
    ends = {"change": found.change.value, "change_low": found.change.low, "change_high": found.change.high}
    return {**ends, "p": found.p_value, "detectable": found.detectable}


def category_table(
    seen: Measured, answers: DefenceAnswers, contrasts: DefenceAnswers | None = None
) -> Record:
    """Return the table `methods_by_category`: attack success and both over-refusals in each category."""
    rows = []
    for measure in BY_CATEGORY if contrasts else BY_CATEGORY[:2]:
        found = contrasts if contrasts and measure == CONTRAST else answers
        for name, judged in found.judged.items():
            rows += [
                {"method": name, "measure": measure, **row} for row in _categories(judged, measure, seen)
            ]
    table = pd.DataFrame(rows).assign(model=seen.model.name, arm=seen.image_arm)
    return Record("methods_by_category", table)


def _categories(judged: Sequence[Judged], measure: str, seen: Measured) -> list[dict[str, object]]:
    label, verdict = COUNTED[counted_as(measure)]
    kept = of_label(judged, label)
    rows = []
    for category in sorted({one.pair.category for one in kept}):
        among = [one for one in kept if one.pair.category == category]
        hits = torch.tensor([one.verdict == verdict for one in among])
        share = proportion(hits, [one.pair.cluster for one in among], seen.config.seed)
        rows.append({"category": category, **vars(share)})
    return rows


def settings_table(
    seen: Measured, chosen: Sequence[ChosenDefence], answers: DefenceAnswers, wording: str
) -> Record:
    """Return the table `method_settings`: site and strength of each method, what it needs and runs."""
    rows = [
        {
            "model": seen.model.name,
            "method": one.name,
            "title": one.entry.title,
            "needs": ", ".join(one.entry.arms),
            "looks_at": ", ".join(one.entry.looks_at),
            "site": one.acts_at,
            "strength": one.strength if one.edits else 0.0,
            "passes": one.entry.passes,
            "readings": one.entry.readings,
            "writes": one.entry.writes,
            "answers": answers.extra.get(one.name, 0.0),
            "wording": wording if one.entry.speaks else "",
        }
        for one in chosen
    ]
    return Record("method_settings", pd.DataFrame(rows))


def times_table(seen: Measured, times: Mapping[str, float]) -> Record:
    """Return the table `method_times`: time as a multiple of no defence; it differs each time."""
    rows = [{"model": seen.model.name, "method": name, "time": time} for name, time in times.items()]
    return Record("method_times", pd.DataFrame(rows))


def gaps_table(gaps: Mapping[str, Mapping[str, str]]) -> Record:
    """Return the table `method_gaps`: which methods were not compared on which model, and why."""
    rows = [
        {"model": model, "method": name, "title": METHODS[name].title, "reason": reason}
        for model, reasons in gaps.items()
        for name, reason in reasons.items()
    ]
    return Record("method_gaps", pd.DataFrame(rows))


def holm_with_gaps(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjustment of the p-values that are numbers; NaN stays NaN and is not counted."""
    known = {str(place): p for place, p in enumerate(p_values) if p == p}
    adjusted = statistics.holm(known)
    return [adjusted.get(str(place), float("nan")) for place in range(len(p_values))]
