"""Recipes of ReGap tried on calibration pairs, without answering a test pair: the table of all, and the one chosen."""

from dataclasses import dataclass
from pathlib import Path

from regap.analyses.asked_pairs import pairs_of
from regap.analyses.config import ConfigError, RunConfig, read_config
from regap.analyses.observed import chosen_arms, observe
from regap.analyses.recipe_choice import Choice
from regap.analyses.recipe_table import recipes_record
from regap.analyses.run import load_model, open_folder
from regap.analyses.run_folder import RunFolder, check_out
from regap.analyses.study import choose_corrections, refusal_tokens
from regap.analyses.tracking import Tracker, silent
from regap.interventions.recipes import Removal


@dataclass(frozen=True)
class Calibrated:
    """The folder with the table `recipes`, the best fixed strength and what was chosen."""

    folder: RunFolder
    fixed: Removal
    fixed_refusal: float
    """Share of harmful calibration images that the fixed strength refuses."""
    fixed_over_refusal: float
    choice: Choice


def calibrate_recipe(config: RunConfig, track: Tracker = silent, *, beside: bool = False) -> Calibrated:
    """Return what calibration pairs choose for the budget of the configuration; no test pair is answered.

    `beside` a finished run nothing of it is written anew, only the table added.
    """
    check_out(Path(config.out), None)
    pairs = pairs_of(config).require_both_labels()
    chosen_arms(pairs, config)
    model = load_model(config, config.model)
    check_out(Path(config.out), model.fingerprint)
    folder = RunFolder(Path(config.out))
    if not beside:
        folder, pairs = open_folder(config, model, pairs, track)
    seen = observe(model, pairs, config, folder.path, track)
    tokens = refusal_tokens(seen, folder.path, track)
    fixed, readings, choice = choose_corrections(seen, tokens, track)
    recipes_record([choice], model.name, seen.image_arm).save(folder.path)
    evidence = readings.evidence
    refused = evidence.refusals(fixed).double()
    shares = [float(refused[which].mean()) for which in (evidence.harmful, ~evidence.harmful)]
    return Calibrated(folder, fixed, shares[0], shares[1], choice)


def config_of_run(run: Path, **flags: object) -> RunConfig:
    """Return the configuration of a run folder under further flags; captions, which cost answers, are left out.

    Raises ConfigError if it is no run.
    """
    resolved = run / "config.toml"
    if not resolved.is_file():
        raise ConfigError(
            f"run is {run}, which holds no config.toml; name the folder of a run, or give --model"
        )
    config = read_config(resolved, **{**flags, "out": str(run)})
    without = {
        name: tuple(arm for arm in arms if arm != "caption")
        for name, arms in (("make", config.make), ("arms", config.arms))
        if arms
    }
    return config.model_copy(update=without)
