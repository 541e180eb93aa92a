"""A measured model with its corrections, which are chosen on calibration pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from regap.analyses.calibration.choice import (
    Choice,
    SignalReadings,
    best_fixed,
    candidates,
    choose,
    further_removals,
    gather,
    read_all,
)
from regap.analyses.calibration.guarantee import Guarantee, divided, free_clusters, guaranteed
from regap.analyses.judges.verdicts import Judged
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.measured import Measured, are_harmful
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.hooks import Edit
from regap.geometry.models.model import Model
from regap.interventions.edits.recipe import Removal
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A measured model with the corrections chosen on its calibration pairs."""

    seen: Measured
    fixed: Shift
    regap: ReGap
    readings: SignalReadings = field(repr=False)
    """The signals of all recipes on calibration pairs."""
    choice: Choice = field(repr=False)
    """How ReGap's recipe was chosen."""
    guarantee: Guarantee | None = None
    """What harmless prompts that chose nothing tell of false refusals; None if all of them chose."""

    @property
    def conditions(self) -> dict[str, list[Edit]]:
        """The three reported conditions."""
        return {"baseline": [], "fixed": [self.fixed], "regap": [self.regap]}

    def answers(
        self, arm: str, conditions: Mapping[str, Sequence[Edit]], pairs: Pairs | None = None
    ) -> dict[str, tuple[Judged, ...]]:
        """Return judged answers to these pairs (default: all test pairs) in an arm, under each condition."""
        return self.seen.answers(arm, conditions, pairs)


def calibrate(seen: Measured) -> Calibrated:
    """Return the model with site, fixed strength and ReGap chosen on calibration pairs.

    Raises PairError if the pairs have no image arm, or the model refuses nothing.
    """
    fixed, readings, choice, guarantee = choose_corrections(seen)
    shift = fixed.shift(seen.drift, seen.refusal)
    return Calibrated(seen, shift, regap_of(seen, choice), readings, choice, guarantee)


def choose_corrections(seen: Measured) -> tuple[Removal, SignalReadings, Choice, Guarantee | None]:
    """Return the best fixed correction, the signals of recipes on calibration pairs, and the chosen recipe.

    With a confidence in the settings, half of the harmless requests choose nothing; they set the threshold, and tell
    what is guaranteed of false refusals.
    """
    asked = seen.pairs.calibration.where(arm=seen.image_arm)
    if seen.config.confidence:
        free_clusters([pair.cluster for pair in asked], are_harmful(asked))
    strengths, layers = seen.config.strengths, seen.model.layers

    each = [
        (Removal(layer, strength),)
        for layer in correctable(seen.config, seen.model)
        for strength in strengths
    ]
    evidence = gather(seen, asked, [(), *each], "choosing layer and strength")
    confidence, seed = seen.config.confidence, seen.config.seed
    choosing = divided(evidence, seed)[0] if confidence else evidence
    fixed = best_fixed(choosing, seen.config.false_refusals)
    further = further_removals(fixed, strengths)
    evidence = evidence.joined(gather(seen, asked, further, "choosing ReGap's recipe"))
    signal = seen.config.signal
    recipes = [one for one in candidates(layers, fixed, strengths) if signal in ("auto", one.signal)]
    if not confidence:
        readings = read_all(evidence, recipes, seed)
        return fixed, readings, choose(readings, recipes, seen.config.false_refusals), None
    choosing, held = divided(evidence, seed)
    readings = read_all(choosing, recipes, seed)
    choice = choose(readings, recipes, seen.config.false_refusals)
    winner, guarantee = guaranteed(choice.winner, held, seen.config.false_refusals, confidence)
    trials = [winner if trial is choice.winner else trial for trial in choice.trials]
    return fixed, readings, replace(choice, trials=tuple(trials), winner=winner), guarantee


def correctable(config: RunConfig, model: Model) -> Sequence[int]:
    """Return the blocks at which a correction may act; raises ConfigError for one that the model does not have."""
    there = range(model.layers - 1)
    for layer in config.layers:
        if layer not in there:
            raise ConfigError(f"layers name block {layer}; give layers from 0 to {there[-1]} for this model")
    return config.layers or there


def regap_of(seen: Measured, choice: Choice) -> ReGap:
    """Return the chosen recipe as an edit; other gates than hard keep the threshold of the hard gate."""
    recipe = replace(choice.winner.recipe, gate=seen.config.gate)
    return replace(choice.winner, recipe=recipe).regap(seen.drift, seen.refusal)
