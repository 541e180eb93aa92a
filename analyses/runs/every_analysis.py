"""Run every analysis on a model and pairs, and write tables and a summary; an interrupted run continues."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

import pandas as pd
import torch

from regap.analyses import read_back
from regap.analyses.calibration.guarantee import free_clusters
from regap.analyses.claims import (
    collapse,
    drift_causes,
    drift_predicts,
    regap_against_fixed,
    self_rectification,
)
from regap.analyses.claims.claim import Claim, Finding, claims_record
from regap.analyses.claims.criteria import criteria_digest
from regap.analyses.judges.registry import judge_for
from regap.analyses.judges.verdicts import Judged
from regap.analyses.outcomes import outcomes
from regap.analyses.runs.calibrated import Calibrated, correctable
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.folder import add_notes, write_summary
from regap.analyses.runs.measured import Measured, chosen_arms, image_arm_of, measure_model
from regap.analyses.runs.pairs import asked_of
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import Run, runner_of, start_run
from regap.analyses.spoken import in_words_of
from regap.analyses.utility.tables import scored, utility_records
from regap.errors import ConfigError, PairError
from regap.geometry.data.pairs import Label, Pairs
from regap.geometry.forward.runner import Tracker, silent
from regap.geometry.sole_writer import sole_writer
from regap.interventions.edits.signals import FOLDS, folds_of

Answers = Mapping[str, Mapping[str, Sequence[Judged]]]
"""Judged answers by condition and arm."""


def run(config: RunConfig, track: Tracker = silent, *, force: bool = False) -> Run:
    """Return the finished run with its tables, directions and summary; figures and report are drawn from them.

    Answers and residual streams that an interrupted run left in the folder are used again. If the pairs have no image
    arm, or the model refuses nothing, corrections and their claims are left out, with a note in the provenance.
    """
    if config.contrast:
        raise ConfigError(
            f"contrast is {config.contrast!r}, which only `regap compare` uses; leave it out here"
        )
    if config.position != "last":
        raise ConfigError(
            f"position is {config.position!r}, and corrections act at the last token; "
            "read other tokens with `regap capture`"
        )
    asked = asked_of(config)
    judge_for(asked.pairs, config.judge)
    _require_enough(asked.pairs, config)
    found = start_run(config, track, force=force, asked=asked)
    with sole_writer(found.folder):
        _write_everything(found)
    return found


def _write_everything(found: Run) -> None:
    config = found.config
    correctable(
        config, found.runner.model
    )  # refuses a layer that the model lacks, before anything is computed
    found.write_directions()
    seen, (calibrated, reason) = found.measured, _calibrated(found)
    if calibrated:
        for condition, edit in (("fixed", calibrated.fixed), ("regap", calibrated.regap)):
            edit.save(found.folder / "edits" / condition, seen.model.fingerprint)
    answers = _answers(seen, calibrated)
    findings = _findings(seen, calibrated, answers)
    gated = read_back.records(seen.model.name, seen.readings, answers, config.seed)
    records = [*_answer_records(seen, answers), *(one for each in findings for one in each.records), *gated]
    if not seen.corrected_arm:
        records += collapse.geometry_records(seen)
    claims = [finding.claim.about(seen.image_arm) for finding in findings]
    records += [claims_record(claims)] if claims else []
    for record in (*records, *_utility(seen, answers)):
        record.save(found.folder)
    summary = _summary(seen, calibrated, answers, records, claims)
    write_summary(found.folder, summary | (_gated(seen, answers) if config.read_back else {}))
    add_notes(found.folder, [reason] if reason else [])


def _require_enough(pairs: Pairs, config: RunConfig) -> None:
    """Raise PairError if the pairs of the arm to correct are too few to choose a correction, or to test it.

    Raises ConfigError if the limit makes them so.
    """
    arm = image_arm_of(chosen_arms(pairs, config), config)
    having = [pair for pair in pairs if arm in pair.prompts]
    if arm is None or not having:
        return
    if config.limit is not None and config.limit < FOLDS:
        raise ConfigError(
            f"limit is {config.limit} (--limit), and a correction is chosen on at least {FOLDS} calibration pairs of "
            f"each label; give {FOLDS} or more"
        )
    known = [pair for pair in having if pair.split == "calibration"]
    harmful = torch.tensor([pair.label == "harmful" for pair in known], dtype=torch.bool)
    folds_of([pair.cluster for pair in known], harmful)
    if config.confidence:
        free_clusters([pair.cluster for pair in known], harmful)
    for label in get_args(Label):
        tested = {pair.cluster for pair in having if (pair.split, pair.label) == ("test", label)}
        if len(tested) < drift_predicts.FEWEST_BINS:
            raise PairError(
                f"{len(tested)} {label} test requests with the arm {arm} are too few to test a correction; give "
                f"at least {drift_predicts.FEWEST_BINS}, or raise --limit"
            )


def capture_only(config: RunConfig, track: Tracker = silent, *, force: bool = False) -> Run:
    """Return the run with activations, directions and the tables that need no answers."""
    asked = asked_of(config)
    chosen_arms(asked.pairs, config)
    found = start_run(config, track, force=force, asked=asked)
    with sole_writer(found.folder):
        found.write_directions()
        for record in collapse.geometry_records(found.measured):
            record.save(found.folder)
    return found


def _calibrated(run: Run) -> tuple[Calibrated | None, str]:
    """Return the model with its corrections, or None and the reason."""
    seen = run.measured
    if seen.corrected_arm is None:
        left_out = "the pairs have no image arm: drift, corrections and the claims about them are left out"
        return None, left_out
    try:
        _ = seen.refusal_tokens
    except PairError as error:
        return None, f"{error}; corrections and the claims about them are left out"
    return run.calibrated, ""


def _findings(seen: Measured, calibrated: Calibrated | None, answers: Answers) -> list[Finding]:
    """Return the findings: without corrections only those on geometry, without an image arm none."""
    if not seen.corrected_arm:
        return []
    conditions = calibrated.conditions if calibrated else {"baseline": []}
    found = [
        collapse.run(seen, conditions),
        drift_predicts.run(seen, answers["baseline"], _family(seen)),
    ]
    if calibrated:
        found += [
            drift_causes.run(calibrated),
            self_rectification.run(calibrated, answers["baseline"][seen.image_arm]),
            regap_against_fixed.run(calibrated),
        ]
    return found


def _answers(seen: Measured, calibrated: Calibrated | None) -> Answers:
    """Return baseline answers in every arm, and corrected answers in the text and the image arm."""
    everything = calibrated.conditions if calibrated else {"baseline": []}
    found: dict[str, dict[str, Sequence[Judged]]] = {name: {} for name in everything}
    for arm in seen.states:
        asked = everything if arm in ("text", seen.corrected_arm) else {"baseline": everything["baseline"]}
        for name, judged in seen.answers(arm, asked).items():
            found[name][arm] = judged
    return found


def _gated(seen: Measured, answers: Answers) -> dict[str, Any]:
    seed, readings = seen.config.seed, seen.readings
    read = {
        condition: {arm: read_back.understood(judged, readings.get(arm, ())) for arm, judged in arms.items()}
        for condition, arms in answers.items()
    }
    return {
        "read_back": {
            arm: {
                label: {state: vars(share) for state, share in states.items()}
                for label, states in read_back.shares(found, seed).items()
            }
            for arm, found in readings.items()
        },
        "outcomes_understood": _outcomes(read, seed),
    }


def _outcomes(answers: Answers, seed: int) -> dict[str, Any]:
    """Return every measure by condition and arm; arms without answers are left out."""
    return {
        condition: {
            arm: {measure: vars(share) for measure, share in outcomes(judged, seed).items()}
            for arm, judged in arms.items()
            if judged
        }
        for condition, arms in answers.items()
    }


def _family(seen: Measured) -> dict[str, tuple[Measured, Sequence[Judged]]]:
    """Return the other models of the family, measured on the same pairs in the text and image arms."""
    config = seen.config
    narrow = config.model_copy(update={"arms": ("text", seen.image_arm), "image_arm": seen.image_arm})
    found = {}
    for name in config.family:
        runner = runner_of(config, name, seen.runner.folder, seen.runner.track)
        other = measure_model(runner, seen.pairs, narrow)
        found[name] = (other, other.answers(other.image_arm, {"": []})[""])
    return found


def _answer_records(seen: Measured, answers: Answers) -> list[Record]:
    completions, verdicts, shares = [], [], []
    for condition, arms in answers.items():
        for arm, judged in arms.items():
            where = {"model": seen.model.name, "condition": condition, "arm": arm}
            for one in judged:
                answer, known = one.completion, {**where, "pair_id": one.pair.pair_id}
                said = {"text": answer.text, "tokens": answer.tokens, "finished": answer.finished}
                completions.append({**known, **said, "first_token": answer.first_token})
                told = {"judge": one.judge, "verdict": one.verdict, "reason": one.reason}
                verdicts.append({**known, "label": one.pair.label, **told})
            found = outcomes(judged, seen.config.seed)
            shares += [{**where, "measure": measure, **vars(share)} for measure, share in found.items()]
    tables = {"completions": completions, "verdicts": verdicts, "outcomes": shares}
    return [Record(name, pd.DataFrame(rows)) for name, rows in tables.items()]


def _utility(seen: Measured, answers: Answers) -> Sequence[Record]:
    """Return the tables of utility, for pairs of benchmarks that publish a rule."""
    arms = dict.fromkeys(arm for arms in answers.values() for arm in arms)
    found = [
        one
        for arm in arms
        for one in scored(
            seen.model.name, arm, {name: arms[arm] for name, arms in answers.items() if arm in arms}
        )
    ]
    return utility_records(found, seed=seen.config.seed)


def _summary(
    seen: Measured,
    calibrated: Calibrated | None,
    answers: Answers,
    records: Sequence[Record],
    claims: Sequence[Claim],
) -> dict[str, Any]:
    separability = next(record for record in records if record.name == "separability")
    at_layer = separability.where(condition="baseline", direction="refusal", layer=seen.layer)
    return {
        "model": seen.model.name,
        "headline": in_words_of(seen.corrected_arm, _headline(seen, answers)),
        "layer": seen.layer,
        "image_arm": seen.corrected_arm,
        "thresholds": {
            str(layer): float(t)
            for layer, t in zip(seen.refusal.layers, seen.refusal.thresholds, strict=True)
        },
        "separability": {
            arm: rows.set_index("measure")[["value", "low", "high", "n"]].to_dict("index")
            for arm, rows in at_layer.groupby("arm")
        },
        "outcomes": _outcomes(answers, seen.config.seed),
        **(_corrections(calibrated) if calibrated else {}),
        "criteria": criteria_digest(),
        "claims": {
            claim.claim: {
                "verdict": claim.verdict,
                "criterion_version": claim.version,
                "evidence": claim.evidence,
                **vars(claim.estimate),
            }
            for claim in claims
        },
    }


def _corrections(calibrated: Calibrated) -> dict[str, Any]:
    fixed, regap = calibrated.fixed, calibrated.regap
    return {
        "fixed": {"site": asdict(fixed.site), "strength": fixed.strength, "part": fixed.name},
        "regap": {
            "why": calibrated.choice.why,
            "recipe": str(calibrated.choice.winner.recipe),
            "site": asdict(regap.removed.site),
            "part": regap.removed.name,
            "passes": regap.passes,
            "probe": {"site": asdict(regap.probe.site), "strength": regap.probe.strength},
            "signal": regap.signal,
            "gate": vars(regap.gate),
            "strongest": regap.strongest,
            "read_layers": list(regap.read_layers),
            "false_refusals": calibrated.seen.config.false_refusals,
            "guarantee": str(calibrated.guarantee or "none: all calibration pairs chose the recipe"),
        },
    }


def _headline(seen: Measured, answers: Answers) -> str:
    """Return the change of refusals in words, for the head of the report."""
    arm, seed = seen.corrected_arm, seen.config.seed

    def share(condition: str, arm: str, measure: str) -> str:
        found = outcomes(answers[condition][arm], seed).get(measure)
        return f"{found.value:.0%}" if found else "an unknown share"

    told = f"{seen.model.name} refuses {share('baseline', 'text', 'refusal')} of harmful requests as text"
    if arm is None:
        return f"{told}."
    told += f" and {share('baseline', arm, 'refusal')} of the same requests as {arm} images"
    if "regap" not in answers:
        return f"{told}."
    return (
        f"{told}; with ReGap {share('regap', arm, 'refusal')}, while over-refusal of harmless images goes from "
        f"{share('baseline', arm, 'over_refusal')} to {share('regap', arm, 'over_refusal')} and right answers "
        f"from {share('baseline', arm, 'utility')} to {share('regap', arm, 'utility')}."
    )
