"""`regap calibrate`: try recipes of ReGap on calibration pairs, choose one, and test it on held-out pairs."""

from dataclasses import dataclass, replace

from regap.analyses.calibration.choice import recipes_record
from regap.analyses.claims import regap_against_fixed
from regap.analyses.claims.claim import Claim, claims_record
from regap.analyses.runs.calibrated import Calibrated, calibrate
from regap.analyses.runs.config import changed_config
from regap.analyses.runs.questions import Question, save_answer
from regap.analyses.runs.run import Run
from regap.errors import ConfigError
from regap.geometry.sole_writer import sole_writer
from regap.interventions.edits.recipe import Removal


@dataclass(frozen=True)
class CalibratedRecipe:
    """The answer with the table `recipes`, the best fixed correction and the chosen recipe."""

    question: Question
    calibrated: Calibrated
    fixed_refusal: float
    """Share of harmful calibration images that are refused with the fixed correction."""
    fixed_over_refusal: float
    claim: Claim | None
    """The claim on held-out pairs, if they were asked."""


def calibrate_run(
    run: Run,
    *,
    false_refusals: float | None = None,
    signal: str | None = None,
    confidence: float | None = None,
    held_out: bool = False,
) -> CalibratedRecipe:
    """Return the recipe that is chosen on the calibration pairs of a run, and store the answer in the run folder.

    false_refusals, signal, confidence: in place of the run's settings. With `held_out`, the chosen corrections are then
    tested once on test pairs, by whole answers; else no test pair is run. Raises ConfigError if the run has answered
    them already.
    """
    if held_out and (run.folder / "summary.json").is_file():
        raise ConfigError(
            "held_out needs unused test pairs, and this run has answered its own; give --model and a new folder"
        )
    own = changed_config(run.config, false_refusals=false_refusals, signal=signal, confidence=confidence)
    with sole_writer(run.folder):
        calibrated = calibrate(replace(run.measured, config=own))
        records, claim = (
            [recipes_record([calibrated.choice], calibrated.seen.model.name, calibrated.seen.image_arm)],
            None,
        )
        if held_out:
            finding = regap_against_fixed.run(calibrated)
            claim = finding.claim
            kept = {record.name: record for record in (*records, *finding.records, claims_record([claim]))}
            records = list(kept.values())
        settings = {"false_refusals": own.false_refusals, "signal": own.signal, "held_out": held_out}
        settings |= {"confidence": own.confidence} if own.confidence else {}
        question = save_answer(run.folder, "calibrate", settings, records)
    evidence = calibrated.readings.evidence
    fixed = Removal(calibrated.fixed.site.layers[0], calibrated.fixed.strength)
    refused = evidence.refusals(fixed).double()
    shares = [float(refused[which].mean()) for which in (evidence.harmful, ~evidence.harmful)]
    return CalibratedRecipe(question, calibrated, shares[0], shares[1], claim)
