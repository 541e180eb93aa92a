"""One run from a model and pairs to tables and a summary: every analysis, in order, each step resumable."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regap.analyses.claims import collapse, drift_causes, drift_predicts, regap_against_fixed, self_rectification
from regap.analyses import read_back
from regap.analyses.runs.pairs import pairs_of
from regap.analyses.runs.captions import with_captions
from regap.analyses.claims.claim import Claim, Finding, claims_record
from regap.analyses.runs.config import RunConfig
from regap.errors import ConfigError
from regap.analyses.judges.judge_panel import remove_second_opinions
from regap.analyses.judges.registry import judge_for
from regap.analyses.runs.measured import Measured, chosen_arms, measure_model
from regap.analyses.outcomes import outcomes
from regap.analyses.read_back import Transcription
from regap.analyses.runs.records import Record
from regap.analyses.runs.folder import RunFolder, check_out
from regap.analyses.runs.calibrated import Calibrated, calibrate
from regap.analyses.runs.progress import Tracker, silent
from regap.analyses.utility.tables import save_utility, scored, utility_records
from regap.analyses.judges.verdicts import Judged
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model, load
from regap.geometry.data.pairs import Pairs
from regap.interventions.packs.packing import correction_of
from regap.interventions.packs.stored import store_correction

Answers = Mapping[str, Mapping[str, Sequence[Judged]]]
"""Judged answers by condition and arm."""


def run(config: RunConfig, track: Tracker = silent) -> RunFolder:
    """Return the finished run folder: tables, directions, summary; figures and report are drawn from them.

    Answers and residual streams that an earlier, interrupted run left in the folder are used again.
    """
    if config.contrast:
        raise ConfigError(f"contrast is {config.contrast!r}, which `regap compare` takes; leave it out here")
    check_out(Path(config.out), None)
    pairs = pairs_of(config).require_both_labels()
    chosen_arms(pairs, config)
    judge_for(pairs, config.judge)
    model = load_model(config, config.model)
    folder, pairs = open_folder(config, model, pairs, track)
    seen = measure_model(model, pairs, config, folder.path, track)
    folder.write_directions(seen.refusal, dict(seen.drifts), model)
    study = calibrate(seen, folder.path, track)
    _store_corrections(study, folder)
    answers = _answers(study)
    findings = [
        collapse.run(study),
        drift_predicts.run(study, answers["baseline"], _family(study)),
        drift_causes.run(study),
        self_rectification.run(study),
        regap_against_fixed.run(study),
    ]
    readings = _readings(study, answers) if config.read_back else {}
    gated = read_back.records(model.name, readings, answers, config.seed)
    for record in [*_answer_records(study, answers), *_records(findings), *gated]:
        record.save(folder.path)
    remove_second_opinions(folder.path)
    save_utility(_utility(study, answers), folder.path)
    summary = _summary(study, answers, findings)
    folder.write_summary(summary | (_gated(study, readings, answers) if config.read_back else {}))
    return folder


def open_folder(
    config: RunConfig, model: Model, pairs: Pairs, track: Tracker = silent
) -> tuple[RunFolder, Pairs]:
    """Return the run folder and its pairs, with the caption arm made by the model if that is asked for."""
    folder = RunFolder.open(config, model, pairs)
    if "caption" not in config.make:
        return folder, pairs
    captioned = with_captions(
        Runner(model, Limits(answers=config.batch_size), folder.path / "answers", track), pairs
    )
    return RunFolder.open(config, model, captioned), captioned


def load_model(config: RunConfig, source: str) -> Model:
    """Return a model loaded as the configuration says."""
    revision = config.revision if source == config.model else None
    return load(
        source,
        device=config.device,
        dtype=config.dtype,
        device_map=config.device_map,
        quantize=config.quantize,
        attention=config.attention,
        revision=revision,
        download=config.download,
    )


def _store_corrections(study: Calibrated, folder: RunFolder) -> None:
    """Keep the corrections as they were chosen, vectors and all, for `regap pack`."""
    for condition, edit in (("fixed", study.fixed), ("regap", study.regap)):
        correction = correction_of(edit, study.seen.refusal)
        store_correction(correction, folder.path, condition, study.seen.model.fingerprint)


def _answers(study: Calibrated) -> Answers:
    """Return baseline answers in every arm, and corrected ones in the text and the image arm."""
    found: dict[str, dict[str, Sequence[Judged]]] = {name: {} for name in study.conditions}
    for arm in study.seen.states:
        everything = study.conditions
        asked = everything if arm in ("text", study.seen.image_arm) else {"baseline": everything["baseline"]}
        for name, judged in study.answers(arm, asked).items():
            found[name][arm] = judged
    return found


def _readings(study: Calibrated, answers: Answers) -> dict[str, tuple[Transcription, ...]]:
    """Return what the model reads in the test images of every arm that shows words."""
    seen = study.seen
    question = (
        read_back.ORGANISM_QUESTION if seen.config.model.split(":")[0] == "organism" else read_back.QUESTION
    )
    store = study.folder / "answers" if study.folder else None
    runner = Runner(seen.model, Limits(answers=seen.config.batch_size), store, study.track)
    found = {}
    for arm in answers["baseline"]:
        readings = read_back.read_back(
            runner, seen.pairs.test, arm, question=question
        )
        found |= {arm: readings} if readings else {}
    return found


def _gated(study: Calibrated, readings: Mapping[str, Sequence[Transcription]], answers: Answers) -> dict[str, Any]:
    seed = study.seen.config.seed
    return {
        "read_back": {
            arm: {
                label: {state: vars(share) for state, share in states.items()}
                for label, states in read_back.shares(found, seed).items()
            }
            for arm, found in readings.items()
        },
        "outcomes_understood": {
            condition: {
                arm: {measure: vars(share) for measure, share in outcomes(read, seed).items()}
                for arm, judged in arms.items()
                if (read := read_back.understood(judged, readings.get(arm, ())))
            }
            for condition, arms in answers.items()
        },
    }


def _family(study: Calibrated) -> dict[str, tuple[Measured, Sequence[Judged]]]:
    """Return the other models of the family, observed on the same pairs in the text and the image arm."""
    config = study.seen.config
    narrow = config.model_copy(
        update={"arms": ("text", study.seen.image_arm), "image_arm": study.seen.image_arm}
    )
    found = {}
    for name in config.family:
        model = load_model(config, name)
        seen = measure_model(model, study.seen.pairs, narrow, study.folder, study.track)
        found[name] = (seen, drift_predicts.judged_answers(study, seen))
    return found


def _answer_records(study: Calibrated, answers: Answers) -> list[Record]:
    completions, verdicts, shares = [], [], []
    for condition, arms in answers.items():
        for arm, judged in arms.items():
            where = {"model": study.seen.model.name, "condition": condition, "arm": arm}
            for one in judged:
                answer, known = one.completion, {**where, "pair_id": one.pair.pair_id}
                said = {"text": answer.text, "tokens": answer.tokens, "finished": answer.finished}
                completions.append({**known, **said, "first_token": answer.first_token})
                verdicts.append(
                    {
                        **known,
                        "label": one.pair.label,
                        "judge": one.judge,
                        "verdict": one.verdict,
                        "reason": one.reason,
                    }
                )
            found = outcomes(judged, study.seen.config.seed)
            shares += [{**where, "measure": measure, **vars(share)} for measure, share in found.items()]
    tables = {"completions": completions, "verdicts": verdicts, "outcomes": shares}
    return [Record(name, pd.DataFrame(rows)) for name, rows in tables.items()]


def _utility(study: Calibrated, answers: Answers) -> Sequence[Record]:
    """Return the tables of utility, where pairs are of benchmarks that publish a rule."""
    arms = dict.fromkeys(arm for arms in answers.values() for arm in arms)
    found = [
        one
        for arm in arms
        for one in scored(
            study.seen.model.name, arm, {name: arms[arm] for name, arms in answers.items() if arm in arms}
        )
    ]
    return utility_records(found, seed=study.seen.config.seed)


def _records(findings: Sequence[Finding]) -> list[Record]:
    return [record for finding in findings for record in finding.records] + [
        claims_record(finding.claim for finding in findings)
    ]


def _summary(study: Calibrated, answers: Answers, findings: Sequence[Finding]) -> dict[str, Any]:
    seen = study.seen
    separability = next(r for f in findings for r in f.records if r.name == "separability")
    at_layer = separability.where(condition="baseline", direction="refusal", layer=seen.layer)
    return {
        "model": seen.model.name,
        "headline": _headline(study, answers),
        "layer": seen.layer,
        "image_arm": seen.image_arm,
        "thresholds": {
            str(layer): float(t)
            for layer, t in zip(seen.refusal.layers, seen.refusal.thresholds, strict=True)
        },
        "separability": {
            arm: {str(row["measure"]): _estimate(row) for row in rows.to_dict("records")}
            for arm, rows in at_layer.groupby("arm")
        },
        "outcomes": {
            condition: {
                arm: {measure: vars(share) for measure, share in outcomes(judged, seen.config.seed).items()}
                for arm, judged in arms.items()
            }
            for condition, arms in answers.items()
        },
        "fixed": {"site": str(study.fixed.site), "strength": study.fixed.strength, "part": study.fixed.name},
        "regap": {
            "why": study.choice.why,
            "recipe": str(study.choice.winner.recipe),
            "site": str(study.regap.removed.site),
            "part": study.regap.removed.name,
            "passes": study.regap.passes,
            "probe": {"site": str(study.regap.probe.site), "strength": study.regap.probe.strength},
            "signal": study.regap.signal,
            "gate": vars(study.regap.gate),
            "strongest": study.regap.strongest,
            "read_layers": list(study.regap.read_layers),
            "false_refusals": seen.config.false_refusals,
        },
        "claims": {finding.claim.claim: _claim(finding.claim) for finding in findings},
    }


def _headline(study: Calibrated, answers: Answers) -> str:
    """Return what happened to refusals, in words, for the head of the report."""
    arm, seed = study.seen.image_arm, study.seen.config.seed

    def share(condition: str, arm: str, measure: str) -> str:
        return f"{outcomes(answers[condition][arm], seed)[measure].value:.0%}"

    return (
        f"{study.seen.model.name} refuses {share('baseline', 'text', 'refusal')} of harmful requests as text and "
        f"{share('baseline', arm, 'refusal')} of the same requests as {arm} images; with ReGap "
        f"{share('regap', arm, 'refusal')}, while over-refusal of harmless images goes from "
        f"{share('baseline', arm, 'over_refusal')} to {share('regap', arm, 'over_refusal')} and right answers "
        f"from {share('baseline', arm, 'utility')} to {share('regap', arm, 'utility')}."
    )


def _claim(claim: Claim) -> dict[str, Any]:
    return {"verdict": claim.verdict, "evidence": claim.evidence, **vars(claim.estimate)}


def _estimate(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("value", "low", "high", "n")}
