"""Compare methods under the same rules: the same pairs, sites, budgets and judge.

Choices are made on calibration pairs; results are measured on test images, and on contrasts: harmless prompts that
look harmful.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace

import pandas as pd

from regap.analyses.calibration.budgets import Budgets
from regap.analyses.comparison.choice import (
    ChosenDefence,
    available,
    calibration_of,
    check_names,
    choose,
    lacking,
    positions_of,
)
from regap.analyses.comparison.tables import (
    answers_of,
    category_table,
    gaps_table,
    outcome_table,
    relative_times,
    settings_table,
    times_table,
)
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.measured import Measured, image_arm_of, measure_model, require_image_arm
from regap.analyses.runs.pairs import AskedPairs, asked_of, divided_contrasts
from regap.analyses.runs.questions import Question, save_answer
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import captioned, runner_of, start_run
from regap.analyses.utility.tables import Scored, scored, utility_records
from regap.errors import ConfigError, PairError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.runner import Tracker, silent
from regap.geometry.sole_writer import sole_writer
from regap.interventions.defences.calibration import DefenceData


def compare(
    config: RunConfig,
    names: Sequence[str] = (),
    track: Tracker = silent,
    *,
    force: bool = False,
    positions: str = "last",
    within: Budgets | None = None,
) -> Question:
    """Return the tables of these methods (default: all), on all models of the run.

    positions: where methods that act at one layer may act, such as last,image; image tokens take a pass over the whole
    prompt for each layer and strength that is tried. within: budgets in place of the run's; contrasts, which must then
    be named, take part in calibration.

    If no method is named, methods that lack an arm or cannot be fitted on these pairs are left out, with the reason in
    the table `method_gaps`; a named method raises ConfigError or PairError. All tables but `method_times` are equal,
    byte for byte, if the comparison is repeated.
    """
    check_names(names)
    tried = positions_of(positions)
    if within and config.contrast is None:
        raise ConfigError("budgets of contrasts need contrasts; name them too, such as --contrast world")
    asked = asked_of(config)
    known = (*(config.arms or asked.pairs.arms), *config.make)
    require_image_arm(image_arm_of(known, config), known)
    # A method that uses an arm needs it for every input, contrasts included.
    there = known if asked.contrasts is None else {*asked.contrasts.arms, *config.make}
    shared = tuple(dict.fromkeys(arm for arm in known if arm in there))
    chosen = available(names, shared)
    run = start_run(config, track, force=force, asked=asked)
    with sole_writer(run.folder):
        run.write_directions()
        rules = _Rules(tuple(chosen), tried, within, may_leave_out=not names)
        found = [_compared(run.measured, run.asked, rules)]
        for source in dict.fromkeys(config.family):
            other = config.model_copy(update={"model": source, "family": ()})
            runner = runner_of(other, source, run.folder, track)
            own = captioned(runner, other, asked)  # each model makes its own captions
            seen = measure_model(runner, own.pairs, other)
            found.append(_compared(seen, own, rules))
        settings = {"methods": chosen, "contrast": config.contrast, "family": config.family}
        settings |= {"positions": tried} if tried != ("last",) else {}
        settings |= {"within": astuple(within)} if within else {}
        records = _joined(found, lacking(shared) if not names else {})
        return save_answer(run.folder, "compare", settings, records)


@dataclass(frozen=True, eq=False)
class _Compared:
    """The results of one model."""

    model: str
    records: list[Record]
    utility: Sequence[Scored]
    gaps: Mapping[str, str]


@dataclass(frozen=True)
class _Rules:
    """Which methods are tried, where, and within which budgets."""

    names: tuple[str, ...]
    positions: tuple[str, ...]
    within: Budgets | None
    may_leave_out: bool
    """True if a method that cannot be fitted is left out, with the reason; else it raises."""


def _compared(seen: Measured, asked: AskedPairs, rules: _Rules) -> _Compared:
    """Return the tables of one model."""
    calibrating, tested = None, asked.contrasts
    if rules.within:
        calibrating, tested = divided_contrasts(seen.config, asked.pairs, seen.image_arm)
        seen = replace(seen, config=seen.config.model_copy(update={"false_refusals": rules.within.harmless}))
    calibration = calibration_of(seen, _with_prompts_of(asked.everything, calibrating))
    found, gaps = _fitted(seen, calibration, rules, calibrating)
    answers = answers_of(seen, found, asked.pairs.test)
    contrasts = answers_of(seen, found, tested) if tested else None
    records = [
        outcome_table(seen, answers, contrasts),
        category_table(seen, answers, contrasts),
        settings_table(seen, found, answers, calibration.wording.name),
        times_table(seen, relative_times(seen, found)),
    ]
    marked = scored(seen.model.name, seen.image_arm, answers.judged)
    return _Compared(seen.model.name, records, marked, gaps)


def _with_prompts_of(pairs: Pairs, contrasts: Pairs | None) -> Pairs:
    """Return the pairs with contrasts as test pairs, so that methods find their other arms and fit nothing on them."""
    known = {pair.pair_id for pair in pairs}
    added = [replace(pair, split="test") for pair in contrasts or () if pair.pair_id not in known]
    return Pairs((*pairs, *added), pairs.notes)


def _joined(found: Sequence[_Compared], lacking: Mapping[str, str]) -> list[Record]:
    """Return each table with the rows of all models, and the table of methods left out, if any."""
    records = [
        Record(same[0].name, pd.concat([each.table for each in same]))
        for same in zip(*(one.records for one in found), strict=True)
    ]
    records += utility_records([marked for one in found for marked in one.utility], "none")
    gaps = {one.model: {**lacking, **one.gaps} for one in found}
    return [*records, gaps_table(gaps)] if any(gaps.values()) else records


def _fitted(
    seen: Measured,
    calibration: DefenceData,
    rules: _Rules,
    contrasts: Pairs | None,
) -> tuple[list[ChosenDefence], dict[str, str]]:
    """Return the methods with their choices, and the reasons why others could not be fitted."""
    found, reasons = [], {}
    for name in rules.names:
        try:
            found.append(choose(seen, calibration, name, rules.positions, rules.within, contrasts))
        except PairError as error:
            if not rules.may_leave_out:
                raise
            reasons[name] = str(error)
    return found, reasons
