"""Choose a recipe of ReGap on calibration pairs, for a given budget of false refusals.

A recipe is rated by its refusals of harmful calibration images, with refusals of harmless images within the budget.
Weights are fitted on four fifths of the requests and evaluated on the last fifth, five times, so that fitting noise
does not help. Among all recipes within one standard error of the best, paired by prompt, the simplest is chosen:
fewest fitted weights, then passes, then read layers, then the smallest strength. No test pair is used.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.analyses.calibration.budgets import Budgets, most_refusals_within
from regap.analyses.runs.measured import Measured, are_harmful, are_refusals
from regap.analyses.runs.records import Record
from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.interventions.edits.gate import Gate, refusal_thresholds
from regap.interventions.edits.recipe import DriftPart, Recipe, Removal
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.signals import Signal, Traces, Weights, cross_fitted, fit_weights, folds_of
from regap.interventions.sweep import sweep

Removals = tuple[Removal, ...]
"""Removals in one pass; empty for the unedited model."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Coordinates and refusals of prompts in the image arm under removals, at the last prompt token."""

    harmful: Bool[Tensor, " prompt"]
    clusters: tuple[str, ...] = field(repr=False)
    coordinates: Mapping[Removals, Float[Tensor, "prompt layer"]] = field(repr=False)
    """z at every layer."""
    refused: Mapping[Removals, Bool[Tensor, " prompt"]] = field(repr=False)
    """True if the first token opens a refusal."""
    rows: tuple[int, ...] | None = field(default=None, repr=False)
    """Places among the calibration pairs; None: all of them, in order."""

    def take(self, kept: Bool[Tensor, " prompt"]) -> "Evidence":
        """Return the evidence of the prompts that are True."""
        places = kept.nonzero()[:, 0].tolist()
        return Evidence(
            self.harmful[kept],
            tuple(self.clusters[place] for place in places),
            {removals: z[kept] for removals, z in self.coordinates.items()},
            {removals: refused[kept] for removals, refused in self.refused.items()},
            tuple(places if self.rows is None else (self.rows[place] for place in places)),
        )

    @property
    def layers(self) -> int:
        """Number of layers of the model."""
        return self.coordinates[()].shape[1]

    def traces(self, probe: Removal, read_layers: Sequence[int]) -> Traces:
        """Return z without and with a probe, at these layers; a probe of strength 0 changes nothing."""
        columns = list(read_layers)
        after = self.coordinates[(probe,) if probe.strength else ()]
        return Traces(self.coordinates[()][:, columns], after[:, columns])

    def refusals(self, *removals: Removal) -> Bool[Tensor, " prompt"]:
        """Return True for prompts that are refused under these removals; strength 0 changes nothing."""
        return self.refused[tuple(each for each in removals if each.strength)]

    def joined(self, other: "Evidence") -> "Evidence":
        """Return the evidence of both; they must be on the same prompts."""
        if other.clusters != self.clusters:
            raise ValueError("evidence on different prompts cannot be joined; gather it on the same pairs")
        found = {**self.coordinates, **other.coordinates}
        return replace(self, coordinates=found, refused={**self.refused, **other.refused})


def gather(
    seen: Measured,
    pairs: Pairs,
    removals: Sequence[Removals],
    told: str = "",
) -> Evidence:
    """Return coordinates and refusals of these pairs in the image arm under each removal, by one-token passes.

    told: the name of this stage in the progress bars.
    """
    asked = pairs.where(arm=seen.image_arm)
    edits = [[each.shift(seen.drift, seen.refusal) for each in listed] for listed in removals]
    layers = range(seen.model.layers)
    runner = seen.runner.named(told or "reading prompts under removals")
    found = sweep(runner, asked, seen.image_arm, edits, seen.refusal, layers)
    refused = are_refusals(found.first_tokens, seen.refusal_tokens)
    return Evidence(
        are_harmful(asked),
        tuple(pair.cluster for pair in asked),
        dict(zip(removals, found.coordinates, strict=True)),
        dict(zip(removals, refused, strict=True)),
    )


PROBE_LAYERS = 12
"""Most layers at which a probe is tried; evenly spread in deeper models."""
PARTS: tuple[DriftPart, ...] = ("D", "D_along", "D_across")


@dataclass(frozen=True, eq=False)
class Trial:
    """One recipe with its fitted gate and weights, and its cross-validated effect on calibration prompts."""

    recipe: Recipe
    gate: Gate
    weights: Weights = field(repr=False)
    refused: Bool[Tensor, " prompt"] = field(repr=False)
    on_harmful: float
    """Share of harmful calibration images refused."""
    on_harmless: float

    def regap(self, drift: Drift, refusal: Direction) -> ReGap:
        """Return the recipe as an edit, with a gate of the recipe's kind."""
        return self.recipe.regap(drift, refusal, replace(self.gate, kind=self.recipe.gate), self.weights)

    def __str__(self) -> str:
        return f"{self.on_harmful:.1%} of harmful calibration images refused at {self.on_harmless:.1%} of harmless ones"


@dataclass(frozen=True, eq=False)
class Choice:
    """All recipes tried, the chosen one, and the reason."""

    trials: Sequence[Trial] = field(repr=False)
    """Best first; among equals, the simplest first."""
    winner: Trial
    budget: float
    why: str


SignalReading = tuple[Signal, Removal, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class SignalReadings:
    """The value of every signal on each calibration prompt; it does not depend on the budget."""

    evidence: Evidence
    weights: Mapping[SignalReading, Weights] = field(repr=False)
    """Fitted on all calibration prompts."""
    signals: Mapping[SignalReading, Float[Tensor, " prompt"]] = field(repr=False)
    """With weights fitted on the other folds."""


def read_all(evidence: Evidence, recipes: Sequence[Recipe], seed: int = 0) -> SignalReadings:
    """Return the signals of all recipes; raises PairError if a label has too few requests for the folds."""
    harmful = evidence.harmful
    folds = folds_of(evidence.clusters, harmful, seed=seed)
    weights, signals = {}, {}
    for key in dict.fromkeys(reading_of(recipe) for recipe in recipes):
        kind, probe, layers = key
        traces = evidence.traces(probe, layers)
        weights[key] = fit_weights(kind, traces, harmful)
        signals[key] = cross_fitted(kind, traces, harmful, folds)
    return SignalReadings(evidence, weights, signals)


def reading_of(recipe: Recipe) -> SignalReading:
    """Return signal, probe and read layers of a recipe; recipes that share them have the same signal values."""
    return recipe.signal, recipe.probe, recipe.read_layers


def choose(readings: SignalReadings, recipes: Sequence[Recipe], budget: float) -> Choice:
    """Return the simplest recipe within a standard error of the best at this budget of false refusals.

    Raises ValueError for a budget outside [0, 1), or if there is no recipe.
    """
    if not 0 <= budget < 1:
        raise ValueError(
            f"budget is {budget}; give a share of harmless images from 0 to below 1, such as 0.05"
        )
    return choice_among([trial_of(readings, recipe, budget) for recipe in recipes], readings, budget)


def choice_among(trials: Sequence[Trial], readings: SignalReadings, budget: float) -> Choice:
    """Return the choice among trials of this budget; raises ValueError if there is none."""
    if not trials:
        raise ValueError("no recipe is left to try; allow more signals")
    harmful = readings.evidence.harmful
    effort = {id(trial): trial.recipe.effort for trial in trials}
    ranked = sorted(trials, key=lambda trial: (-trial.on_harmful, effort[id(trial)]))
    allowed = max(budget, min(trial.on_harmless for trial in ranked))
    within = [trial for trial in ranked if trial.on_harmless <= allowed]
    best = within[0]
    near = [trial for trial in within if not _worse(trial.refused[harmful], best.refused[harmful])]
    winner = min(near, key=lambda trial: effort[id(trial)])
    return Choice(tuple(ranked), winner, budget, _why(winner, best, len(near), len(ranked)))


def trial_of(readings: SignalReadings, recipe: Recipe, budget: float) -> Trial:
    """Return a recipe with its calibrated gate; each answer is the one with the gate closed, or open."""
    evidence, key = readings.evidence, reading_of(recipe)
    closed, opened = (evidence.refusals(*removals) for removals in ends(recipe))
    signal, harmless = readings.signals[key], ~evidence.harmful
    limit = refusal_thresholds(signal[harmless], closed[harmless], opened[None, harmless], budget)[0]
    refused = torch.where(signal > limit, opened, closed)
    shares = [float(refused[which].double().mean()) for which in (evidence.harmful, harmless)]
    width = max(float(signal[harmless].std()), 1e-12)
    return Trial(recipe, Gate("hard", float(limit), width), readings.weights[key], refused, *shares)


def ends(recipe: Recipe) -> tuple[Removals, Removals]:
    """Return the removals with the gate closed, and with it open."""
    stays = (recipe.probe,) if recipe.passes == "single" and recipe.probe.strength else ()
    return stays, (*stays, recipe.correction)


def _worse(one: Bool[Tensor, " prompt"], best: Bool[Tensor, " prompt"]) -> bool:
    """Return True if one refuses less than the best by more than a standard error of the paired difference."""
    change = best.double() - one.double()
    return float(change.mean()) > float(change.std(correction=0)) / len(change) ** 0.5


def candidates(layers: int, fixed: Removal, strengths: Sequence[float]) -> list[Recipe]:
    """Return the recipes to try, all with hard gates: every signal, with probes at many layers, and single passes.

    All correct at the layer of the best fixed correction, with each strength, or with only one part of the drift.
    """
    corrections = [Removal(fixed.layer, strength) for strength in strengths]
    corrections += [Removal(fixed.layer, fixed.strength, part) for part in PARTS[1:]]
    found = []
    for probe in probe_layers(layers, fixed.layer):
        later = tuple(range(probe + 1, layers))
        for read in dict.fromkeys((later, later[len(later) // 2 :])):
            for signal in _signals(read):
                for correction in corrections:
                    found.append(Recipe(signal, Removal(probe, 1.0), read, correction))
    # Signals without a probe are equal for all probes.
    return list({str(recipe): recipe for recipe in found + _single_passes(fixed, strengths)}.values())


def _signals(read: Sequence[int]) -> list[Signal]:
    plain: list[Signal] = ["z_before", "z_after", "rho", *(["growth"] if len(read) > 1 else [])]
    return [*plain, "fitted_before", "fitted_after", "fitted"]


def _single_passes(fixed: Removal, strengths: Sequence[float]) -> list[Recipe]:
    found = []
    for early in single_probes(fixed, strengths):
        read = tuple(range(early.layer + 1, fixed.layer + 1))
        for signal in _signals(read):
            if signal in ("z_after", "growth", "fitted_after"):
                for strength in strengths:
                    correction = Removal(fixed.layer, strength)
                    found.append(Recipe(signal, early, read, correction, passes="single"))
    return found


def further_removals(fixed: Removal, strengths: Sequence[float]) -> list[Removals]:
    """Return the removals that candidates need besides those of D at one layer: its parts, and single passes."""
    parts: list[Removals] = [(Removal(fixed.layer, fixed.strength, part),) for part in PARTS[1:]]
    early = [probe for probe in single_probes(fixed, strengths) if probe.strength]
    return parts + [(probe, Removal(fixed.layer, strength)) for probe in early for strength in strengths]


def probe_layers(layers: int, fixed: int) -> list[int]:
    """Return the layers of probes: all but the last, or evenly spread ones and the corrected one."""
    count = min(layers - 1, PROBE_LAYERS)
    return sorted({fixed, *(round(i * (layers - 2) / max(1, count - 1)) for i in range(count))})


def single_probes(fixed: Removal, strengths: Sequence[float]) -> list[Removal]:
    """Return the probes of single passes: nothing, or the smallest strength, at the three layers before the
    correction."""
    below = [layer for layer in range(fixed.layer - 3, fixed.layer) if layer >= 0]
    return [Removal(layer, strength) for layer in below for strength in (0.0, min(strengths))]


def best_fixed(evidence: Evidence, budget: float) -> Removal:
    """Return the removal of D at one layer with most harmful refusals within the budget; the first one on ties."""
    tried = sorted(each[0] for each in evidence.refused if len(each) == 1 and each[0].part == "D")
    refused = torch.stack([evidence.refusals(each) for each in tried])
    return tried[most_refusals_within(refused, evidence.harmful, Budgets(budget))]


def _why(winner: Trial, best: Trial, near: int, tried: int) -> str:
    if winner is best:
        return f"{winner.recipe}: {winner}; the best of {tried} recipes, and the simplest within a standard error of it"
    return (
        f"{winner.recipe}: {winner}; the simplest of {near} within a standard error of the best of {tried} "
        f"({best.recipe}: {best})"
    )


def recipes_record(choices: Iterable[Choice], model: str, arm: str) -> Record:
    """Return the table `recipes`: one row per budget and recipe, best first, with threshold and refusals."""
    rows = [
        {**_row(trial), "budget": choice.budget, "chosen": trial is choice.winner, "why": why}
        for choice in choices
        for trial in choice.trials
        for why in [choice.why if trial is choice.winner else ""]
    ]
    return Record("recipes", pd.DataFrame(rows).assign(model=model, arm=arm))


def _row(trial: Trial) -> dict[str, object]:
    recipe = trial.recipe
    return {
        "recipe": str(recipe),
        "signal": recipe.signal,
        "read": ",".join(str(layer) for layer in recipe.read_layers),
        "probe": str(recipe.probe),
        "correction": str(recipe.correction),
        "passes": recipe.passes,
        "readings": recipe.readings,
        "fitted": recipe.fitted,
        "threshold": trial.gate.threshold,
        "refusal": trial.on_harmful,
        "over_refusal": trial.on_harmless,
    }
