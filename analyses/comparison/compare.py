"""Every method under the same rules: the same pairs, sites, budgets and judge, and what each costs.

What is chosen is chosen on calibration pairs; what is reported is measured on test images, and on contrasts: harmless
prompts that look harmful.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from regap.analyses.comparison.answers import answers_of, relative_times
from regap.analyses.comparison.choice import (
    ChosenDefence,
    available,
    calibration_of,
    check_names,
    choose,
    lacking,
)
from regap.analyses.comparison.tables import (
    category_table,
    gaps_table,
    outcome_table,
    settings_table,
    times_table,
)
from regap.analyses.judges.registry import judge_for
from regap.analyses.runs.captions import with_captions
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.contrasts import contrasts_of
from regap.analyses.runs.evaluator import Evaluator, evaluator
from regap.analyses.runs.folder import RunFolder, check_out
from regap.analyses.runs.measured import Measured, chosen_arms, image_arm_of, measure_model
from regap.analyses.runs.pairs import pairs_of
from regap.analyses.runs.progress import Tracker, silent
from regap.analyses.runs.records import Record, table_path
from regap.analyses.runs.run import load_model, open_folder
from regap.analyses.utility.tables import save_utility, scored, utility_records
from regap.errors import PairError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.interventions.defences.calibration import DefenceData


@dataclass(frozen=True)
class _Asked:
    """The pairs that are observed, and the contrasts that are answered beside them."""

    pairs: Pairs
    contrasts: Pairs | None

    @property
    def everything(self) -> Pairs:
        return self.pairs + self.contrasts if self.contrasts else self.pairs

    def again(self, everything: Pairs) -> "_Asked":
        """Return the same two sets after something was made for all pairs."""
        apart = {pair.pair_id for pair in self.contrasts or ()}
        pairs = tuple(pair for pair in everything if pair.pair_id not in apart)
        contrasts = tuple(pair for pair in everything if pair.pair_id in apart)
        return _Asked(Pairs(pairs, everything.notes), Pairs(contrasts) if contrasts else None)


def compare(config: RunConfig, names: Sequence[str] = (), track: Tracker = silent) -> RunFolder:
    """Return the folder with the tables of these methods, of all by default, on the model and on its family.

    Methods that lack an arm, or that cannot be fitted on these pairs, are left out if none was named, with the reason
    in the table `method_gaps`; else they are a ConfigError or PairError. All tables but `method_times` are equal byte
    for byte when the same is run again.
    """
    check_names(names)
    check_out(Path(config.out), None)
    pairs = pairs_of(config).require_both_labels()
    arms = chosen_arms(pairs, config)
    asked = _Asked(pairs, contrasts_of(config, pairs, image_arm_of((*arms, *config.make), config)))
    judge_for(pairs, config.judge)
    known = (*(config.arms or pairs.arms), *config.make)
    shared = tuple(dict.fromkeys(arm for arm in known if _has(asked.contrasts, arm, config)))
    chosen = available(names, shared)
    model = load_model(config, config.model)
    folder, everything = open_folder(config, model, asked.everything, track)
    one = partial(_compared, folder=folder, names=chosen, may_leave_out=not names, track=track)
    found = [one(config, model, asked.again(everything))]
    folder.write_directions(found[0].seen.refusal, dict(found[0].seen.drifts), model)
    for source in dict.fromkeys(config.family):
        other = config.model_copy(update={"model": source, "family": ()})
        found.append(one(other, load_model(config, source), asked))
    _save(folder, found, lacking(shared) if not names else {})
    return folder


@dataclass(frozen=True, eq=False)
class _Compared:
    """What was found of one model."""

    seen: Measured
    records: list[Record]
    gaps: Mapping[str, str]


def _compared(
    config: RunConfig,
    model: Model,
    asked: _Asked,
    *,
    folder: RunFolder,
    names: Sequence[str],
    may_leave_out: bool,
    track: Tracker,
) -> _Compared:
    """Return the tables of one model; captions that are to be made are its own."""
    asked = asked.again(_captioned(config, model, asked.everything, folder, track))
    seen = measure_model(model, asked.pairs, config, folder.path, track)
    study = evaluator(seen, folder.path, track)
    calibration = calibration_of(study, asked.everything)
    found, gaps = _fitted(study, calibration, names, may_leave_out, track)
    answers = answers_of(study, found, asked.pairs.test)
    contrasts = answers_of(study, found, asked.contrasts) if asked.contrasts else None
    marked = scored(model.name, seen.image_arm, answers.judged)
    save_utility(utility_records(marked, "none", config.seed), folder.path)
    records = [
        outcome_table(study, answers, contrasts),
        category_table(study, answers, contrasts),
        settings_table(study, found, answers, calibration.wording.name),
        times_table(study, relative_times(seen, found)),
    ]
    return _Compared(seen, records, gaps)


def _captioned(config: RunConfig, model: Model, pairs: Pairs, folder: RunFolder, track: Tracker) -> Pairs:
    """The pairs with captions, if they are to be made and are not there."""
    if "caption" not in config.make:
        return pairs
    return with_captions(
        Runner(model, Limits(answers=config.batch_size), folder.path / "answers", track), pairs
    )


def _save(folder: RunFolder, found: Sequence[_Compared], lacking: Mapping[str, str]) -> None:
    """Write each table with the rows of all models, and the reasons why methods were left out, if any were."""
    for same in zip(*(one.records for one in found), strict=True):
        Record(same[0].name, pd.concat([each.table for each in same])).save(folder.path)
    gaps = {one.seen.model.name: {**lacking, **one.gaps} for one in found}
    if any(gaps.values()):
        gaps_table(gaps).save(folder.path)
    else:
        table_path(folder.path, "method_gaps").unlink(missing_ok=True)


def _has(contrasts: Pairs | None, arm: str, config: RunConfig) -> bool:
    """True if contrasts have the arm too, or will: a method that looks at it must see it of every input."""
    return contrasts is None or arm in contrasts.arms or arm in config.make


def _fitted(
    study: Evaluator, calibration: DefenceData, names: Sequence[str], may_leave_out: bool, track: Tracker
) -> tuple[list[ChosenDefence], dict[str, str]]:
    """Return the methods with what was chosen for each, and why others could not be fitted."""
    found, reasons = [], {}
    for name in names:
        try:
            found.append(choose(study, calibration, name, track))
        except PairError as error:
            if not may_leave_out:
                raise
            reasons[name] = str(error)
    return found, reasons
