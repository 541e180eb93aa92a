"""Recipes of ReGap tried on calibration pairs: the table of all, the one chosen, and what held-out pairs say of it."""

from dataclasses import dataclass, replace
from pathlib import Path

from regap.analyses.calibration.table import recipes_record
from regap.analyses.claims import regap_against_fixed
from regap.analyses.claims.claim import Claim, claims_record
from regap.analyses.runs.calibrated import Calibrated, calibrate
from regap.analyses.runs.config import RunConfig, stored_config
from regap.analyses.runs.folder import RunFolder, check_out, check_pairs
from regap.analyses.runs.measured import chosen_arms, measure_model
from regap.analyses.runs.pairs import pairs_of
from regap.analyses.runs.progress import Tracker, silent
from regap.analyses.runs.run import load_model, open_folder
from regap.errors import ConfigError
from regap.interventions.edits.recipe import Removal


@dataclass(frozen=True)
class CalibratedRecipe:
    """The folder with the table `recipes`, the best fixed strength and what was chosen."""

    folder: RunFolder
    study: Calibrated
    fixed_refusal: float
    """Share of harmful calibration images that the fixed strength refuses."""
    fixed_over_refusal: float
    claim: Claim | None
    """What held-out pairs say of it, if they were asked."""


def calibrate_recipe(
    config: RunConfig, track: Tracker = silent, *, beside: bool = False, held_out: bool = False
) -> CalibratedRecipe:
    """Return what calibration pairs choose for the budget of the configuration.

    `beside` a finished run nothing of it is written anew, only tables added. With `held_out`, test pairs are then
    asked once, by first tokens, under all that was chosen; else no test pair is run.
    """
    if beside and held_out:
        raise ConfigError(
            "held_out goes with --model and a folder of its own: a run has answered its test pairs"
        )
    check_out(Path(config.out), None)
    pairs = pairs_of(config).require_both_labels()
    chosen_arms(pairs, config)
    model = load_model(config, config.model)
    check_out(Path(config.out), model.fingerprint)
    folder = RunFolder(Path(config.out))
    if beside and "caption" not in stored_config(folder.path / "config.toml").make:
        check_pairs(folder.path, pairs)
    if not beside:
        folder, pairs = open_folder(config, model, pairs, track)
    seen = measure_model(model, pairs, config, folder.path, track)
    study = replace(calibrate(seen, folder.path, track), first_tokens=True)
    recipes_record([study.choice], model.name, seen.image_arm).save(folder.path)
    claim = None
    if held_out:
        finding = regap_against_fixed.run(study)
        claim = finding.claim
        for record in (*finding.records, claims_record([claim])):
            record.save(folder.path)
    evidence = study.readings.evidence
    fixed = Removal(study.fixed.site.layers[0], study.fixed.strength)
    refused = evidence.refusals(fixed).double()
    shares = [float(refused[which].mean()) for which in (evidence.harmful, ~evidence.harmful)]
    return CalibratedRecipe(folder, study, shares[0], shares[1], claim)


def config_of_run(run: Path, **flags: object) -> RunConfig:
    """Return the configuration of a run folder under further flags; captions, which cost answers, are left out.

    Raises ConfigError if it is no run.
    """
    resolved = run / "config.toml"
    if not resolved.is_file():
        raise ConfigError(
            f"run is {run}, which holds no config.toml; name the folder of a run, or give --model"
        )
    config = stored_config(resolved, **{**flags, "out": str(run)})
    without = {
        name: tuple(arm for arm in arms if arm != "caption")
        for name, arms in (("make", config.make), ("arms", config.arms))
        if arms
    }
    return config.model_copy(update=without)
