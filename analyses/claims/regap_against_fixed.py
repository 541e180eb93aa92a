"""Claim 5, ReGap: at equal over-refusal, lower attack success than every fixed strength; utility unchanged.

The criterion is `regap` in `criteria.toml`. For each budget of false refusals (none, 1, 2, 5 and 10 % of harmless
calibration images) a recipe of ReGap with its threshold, and separately the best fixed strength and its layer, are
chosen on calibration pairs. On test images the points of each give a curve of attack success against over-refusal, by
whole answers. Choosing at random between two points reaches any point between them, so a method reaches the lower
convex hull of its points; the model without correction is a point of both. Fixed strengths get more points than
calibration chooses: a fine grid of strengths at the corrected layer, since a threshold can take any value.

Also reported at every budget: recipes with only one signal (rho, plain z before or after), single passes, and the
ceiling, a gate on a probe fitted on images. The criterion is ours; the claim is the paper's.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from regap.analyses.calibration.choice import (
    Evidence,
    Removals,
    SignalReadings,
    Trial,
    best_fixed,
    choice_among,
    ends,
    gather,
    recipes_record,
    trial_of,
)
from regap.analyses.claims.claim import Claim, Finding, above, verdict_of
from regap.analyses.claims.criteria import criteria
from regap.analyses.claims.frontier import Curve
from regap.analyses.judges.verdicts import Judged
from regap.analyses.outcomes import difference, outcomes, share_draws
from regap.analyses.runs.calibrated import Calibrated
from regap.analyses.runs.records import Record
from regap.geometry.directions import logistic_probe
from regap.geometry.estimates import LEVEL, Estimate, estimate, widened_if_constant
from regap.geometry.separability import rarer_clusters
from regap.geometry.states.activations import Activations
from regap.interventions.edits.gate import refusal_thresholds
from regap.interventions.edits.recipe import Recipe, Removal
from regap.interventions.edits.signals import folds_of


@dataclass(frozen=True, eq=False)
class Probe:
    """A logistic probe of one layer's states, and its cross-validated signal on calibration prompts."""

    layer: int
    vector: Float[Tensor, " d_model"] = field(repr=False)
    signal: Float[Tensor, " prompt"] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Ceiling:
    """A hard gate on a probe, calibrated for one budget."""

    probe: Probe
    threshold: float
    correction: Removal

    def opens(self, states: Activations) -> list[bool]:
        """Return True for states for which the gate is open."""
        return (states.at(self.probe.layer).double() @ self.probe.vector > self.threshold).tolist()


def image_probes(
    readings: SignalReadings, states: Activations, layers: list[int], seed: int = 0
) -> list[Probe]:
    """Return a probe for each layer, fitted on calibration images; `states` are in the order of the evidence."""
    harmful = readings.evidence.harmful
    folds = folds_of(readings.evidence.clusters, harmful, seed=seed)
    return [_probe(states.at(layer).double(), layer, harmful, folds) for layer in layers]


def _probe(states: Tensor, layer: int, harmful: Tensor, folds: Tensor) -> Probe:
    signal = torch.empty(len(harmful), dtype=torch.float64)
    for fold in folds.unique():
        held = folds == fold
        others = logistic_probe(states[~held & harmful], states[~held & ~harmful])
        signal[held] = states[held] @ others
    return Probe(layer, logistic_probe(states[harmful], states[~harmful]), signal)


def ceiling(
    readings: SignalReadings, probes: list[Probe], corrections: list[Removal], budget: float
) -> Ceiling:
    """Return the gate and correction with most refusals of harmful calibration images within the budget."""
    evidence = readings.evidence
    harmless, closed = ~evidence.harmful, evidence.refusals()
    opened = torch.stack([evidence.refusals(each) for each in corrections])
    found = []
    for probe in probes:
        limits = refusal_thresholds(probe.signal[harmless], closed[harmless], opened[:, harmless], budget)
        refused = torch.where(probe.signal > limits[:, None], opened, closed)[:, evidence.harmful]
        best = int(refused.double().mean(1).argmax())
        found.append((float(refused[best].double().mean()), probe, float(limits[best]), corrections[best]))
    _, probe, threshold, correction = max(found, key=lambda each: each[0])
    return Ceiling(probe, threshold, correction)


TITLE = "At equal over-refusal ReGap lets fewer attacks through than any fixed strength, utility unchanged"
REPORTED = ("attack_success", "over_refusal", "refusal", "utility")
BUDGETS = (0.0, 0.01, 0.02, 0.05, 0.1)
TESTED = (0.01, 0.02, 0.05)
STRICTEST = 0.01
UP_TO = 0.05
FINE = (*(step / 8 for step in range(1, 13)), 2.0, 3.0)
"""Multiples of the drift on the curve of fixed strengths, besides the configured ones."""
SHOWN_UP_TO = 0.12
Allowed = Callable[[Recipe], bool]
RIVALS: Mapping[str, Allowed] = {
    "regap": lambda _: True,
    "gate_rho": lambda recipe: recipe.signal == "rho",
    "gate_z_before": lambda recipe: recipe.signal == "z_before",
    "gate_z_after": lambda recipe: recipe.signal == "z_after" and recipe.passes == "probe",
    "single_pass": lambda recipe: recipe.passes == "single",
}
"""The recipes that each method may choose from; the first is ReGap, the others are its ablations."""
Answers = Sequence[Judged]
Points = Mapping[float, Answers]
"""Answers of one method by budget."""
Counted = tuple[int, int]
"""Number of harmful prompts, and of clusters of the label that has fewer."""


@dataclass(frozen=True, eq=False)
class _Asked:
    """Answers of test pairs under all chosen corrections."""

    calibrated: Calibrated
    evidence: Evidence = field(repr=False)
    judged: Mapping[Removals, Answers] = field(repr=False)

    def under(self, trial: Trial) -> Answers:
        """Return the answers under a hard gate: for each prompt the one with the gate closed, or open."""
        recipe = trial.recipe
        signal = self.evidence.traces(recipe.probe, recipe.read_layers).weighted(trial.weights)
        closed, opened = ends(recipe)
        return self.gated((signal > trial.gate.threshold).tolist(), opened, closed)

    def gated(self, is_open: Sequence[bool], opened: Removals, closed: Removals = ()) -> Answers:
        """Return `opened` answers where the gate is open, and `closed` answers elsewhere."""
        pairs = zip(self.judged[opened], self.judged[closed], is_open, strict=True)
        return tuple(after if gate else before for after, before, gate in pairs)


def run(calibrated: Calibrated) -> Finding:
    """Return outcomes of every method and budget, frontiers, advantages, and the claim."""
    trials = _chosen(calibrated)
    fixed = {budget: best_fixed(calibrated.readings.evidence, budget) for budget in BUDGETS}
    ceilings = _ceilings(calibrated)
    removals = [ends(trial.recipe) for found in trials.values() for trial in found.values()]
    needed = [each for both in removals for each in both] + [(one.correction,) for one in ceilings.values()]
    strengths = sorted({*FINE, *calibrated.seen.config.strengths})
    curve = [(Removal(calibrated.fixed.site.layers[0], strength),) for strength in strengths]
    asked = _ask(calibrated, [(), *needed, *curve, *((each,) for each in fixed.values())], trials)
    points = {name: {at: asked.under(one) for at, one in found.items()} for name, found in trials.items()}
    states = calibrated.seen.states[calibrated.seen.image_arm].test
    points["probe_image"] = {
        budget: asked.gated(one.opens(states), (one.correction,)) for budget, one in ceilings.items()
    }
    chosen = {budget: asked.judged[(each,)] for budget, each in fixed.items()}
    own = calibrated.answers(calibrated.seen.image_arm, {"regap": [calibrated.regap]})["regap"]
    # The edit that the run reports, at its own budget.
    points["regap"] = {**points["regap"], calibrated.seen.config.false_refusals: own}
    tried = dict.fromkeys([*curve, *((each,) for each in fixed.values())])
    answered = {each: asked.judged[each] for each in tried}
    found = _finding(calibrated, asked.judged[()], answered, chosen, points)
    return Finding(found.claim, (*found.records, _gates(calibrated, trials, fixed)))


def _chosen(calibrated: Calibrated) -> dict[str, dict[float, Trial]]:
    """Return the trial that each method chooses at each budget; each recipe is tried once a budget."""
    readings, recipes = calibrated.readings, [trial.recipe for trial in calibrated.choice.trials]
    tried = {budget: [trial_of(readings, recipe, budget) for recipe in recipes] for budget in BUDGETS}
    found: dict[str, dict[float, Trial]] = {}
    for name, allowed in RIVALS.items():
        own = {budget: [one for one in trials if allowed(one.recipe)] for budget, trials in tried.items()}
        found[name] = {
            budget: choice_among(trials, readings, budget).winner for budget, trials in own.items() if trials
        }
    return found


def _gates(
    calibrated: Calibrated, trials: Mapping[str, Mapping[float, Trial]], fixed: Mapping[float, Removal]
) -> Record:
    """Return the table `gates`: what each method chose at each budget, in full; `fixed` has no gate."""
    rows: list[dict[str, object]] = [
        {"method": "fixed", "budget": budget, "correction": str(each)} for budget, each in fixed.items()
    ]
    for method, found in trials.items():
        for budget, trial in found.items():
            recipe = trial.recipe
            before, after = (json.dumps(weights) for weights in trial.weights.tolist())
            rows.append(
                {
                    "method": method,
                    "budget": budget,
                    "correction": str(recipe.correction),
                    "signal": recipe.signal,
                    "read": ",".join(str(layer) for layer in recipe.read_layers),
                    "weights_before": before,
                    "weights_after": after,
                    "probe": str(recipe.probe),
                    "passes": recipe.passes,
                    "threshold": trial.gate.threshold,
                }
            )
    named = {"model": calibrated.seen.model.name, "arm": calibrated.seen.image_arm}
    return Record("gates", pd.DataFrame(rows).assign(**named))


def _ceilings(calibrated: Calibrated) -> dict:
    seen, layer = calibrated.seen, calibrated.fixed.site.layers[0]
    states, rows = seen.states[seen.image_arm].calibration, calibrated.readings.evidence.rows
    states = states if rows is None else states.take(rows)
    probes = image_probes(calibrated.readings, states, [layer, seen.model.layers - 1], seen.config.seed)
    corrections = [Removal(layer, strength) for strength in seen.config.strengths]
    return {budget: ceiling(calibrated.readings, probes, corrections, budget) for budget in BUDGETS}


def _ask(
    calibrated: Calibrated, removals: Sequence[Removals], trials: Mapping[str, Mapping[float, Trial]]
) -> _Asked:
    """Return answers of test pairs under all removals, and their coordinates after every chosen probe."""
    seen = calibrated.seen
    probes = [trial.recipe.probe for found in trials.values() for trial in found.values()]
    read = [(), *((probe,) for probe in dict.fromkeys(probes) if probe.strength)]
    evidence = gather(seen, seen.pairs.test, read, "reading test images for the gates")
    edits = {
        each: [removal.shift(seen.drift, seen.refusal) for removal in each]
        for each in dict.fromkeys(removals)
    }
    found = calibrated.answers(seen.image_arm, {str(i): each for i, each in enumerate(edits.values())})
    return _Asked(calibrated, evidence, dict(zip(edits, found.values(), strict=True)))


def _finding(
    calibrated: Calibrated,
    none: Answers,
    fixed: Mapping[Removals, Answers],
    chosen: Points,
    points: Mapping[str, Points],
) -> Finding:
    seed = calibrated.seen.config.seed
    settings = {"none": {"alpha=0": none}, "fixed": {}, "fixed_chosen": _by_budget(chosen)}
    layer = calibrated.fixed.site.layers[0]
    for (removal,), answers in fixed.items():
        if removal.layer == layer:
            settings["fixed"][f"alpha={removal.strength:g}"] = answers
    settings |= {name: _by_budget(found) for name, found in points.items()}
    rows = [
        {"method": method, "setting": setting, "measure": measure, **vars(found[measure])}
        for method, answered in settings.items()
        for setting, answers in answered.items()
        for found in [outcomes(answers, seed)]
        for measure in REPORTED
        if measure in found
    ]
    hulls = {"fixed": Curve.of([none, *fixed.values()], seed)}
    hulls |= {name: Curve.of([none, *found.values()], seed) for name, found in points.items() if found}
    n = sum(one.pair.label == "harmful" for one in none)
    trials = rarer_clusters(
        [one.pair.cluster for one in none], torch.tensor([one.pair.label == "harmful" for one in none])
    )
    advantages = list(_advantages(points, chosen, hulls["fixed"], (n, trials), seed))
    named = {"model": calibrated.seen.model.name, "arm": calibrated.seen.image_arm}
    tables = {"adaptive": rows, "frontier": list(_frontier(hulls, n)), "advantage": advantages}
    records = [Record(name, pd.DataFrame(each).assign(**named)) for name, each in tables.items()]
    utility = difference(chosen[STRICTEST], points["regap"][STRICTEST], "utility", seed)
    reached = {budget: Reached.of(points["regap"][budget], seed) for budget in TESTED}
    mean = {name: hull.mean_up_to(UP_TO) for name, hull in hulls.items()}
    told = (
        f". Averaged over over-refusals up to {UP_TO:.0%}, ReGap is apart from fixed strengths by "
        f"{_told(estimate(mean['regap'] - mean['fixed'], n))}, from the ceiling of a probe fitted on images by "
        f"{_told(estimate(mean['regap'] - mean['probe_image'], n))}"
    )
    claim = decide(hulls["fixed"], reached, utility, (n, trials), told)
    recipes = recipes_record([calibrated.choice], calibrated.seen.model.name, calibrated.seen.image_arm)
    return Finding(claim, (*records, recipes))


def _by_budget(found: Points) -> dict[str, Answers]:
    return {f"budget={budget:g}": answers for budget, answers in sorted(found.items())}


def _frontier(hulls: Mapping[str, Curve], n: int) -> Iterator[dict[str, object]]:
    for method, hull in hulls.items():
        for step in range(25):
            over_refusal = SHOWN_UP_TO * step / 24
            found = estimate(hull.at_share(over_refusal), n)
            yield {"method": method, "over_refusal": over_refusal, **vars(found)}


def _advantages(
    points: Mapping[str, Points], chosen: Points, fixed: Curve, counted: Counted, seed: int
) -> Iterator[dict[str, object]]:
    """Yield attack success minus that of fixed strengths by budget, with single and simultaneous intervals."""
    for method, found in points.items():
        for budget, answers in sorted(found.items()):
            over, success = (share_draws(answers, name, seed) for name in ("over_refusal", "attack_success"))
            measured = {"at_equal_over_refusal": success - fixed.at(over)}
            if budget in chosen:
                best = chosen[budget]
                measured["against_chosen_strength"] = success - share_draws(best, "attack_success", seed)
                measured["over_refusal_change"] = over - share_draws(best, "over_refusal", seed)
            for measure, draws in measured.items():
                one, together = paired(draws, counted), simultaneous(draws, counted)
                known = {"method": method, "budget": budget, "measure": measure}
                yield {**known, **vars(one), "low_all": together.low, "high_all": together.high}


def paired(draws: Tensor, counted: Counted, level: float = LEVEL) -> Estimate:
    """Return the estimate of a difference, with exact bounds where hardly any resample varies."""
    n, trials = counted
    return widened_if_constant(estimate(draws, n, level), trials, level=level)


def simultaneous(draws: Tensor, counted: Counted) -> Estimate:
    """Return an estimate whose interval holds together with those of the other tested budgets (Bonferroni)."""
    return paired(draws, counted, 1 - (1 - LEVEL) / len(TESTED))


@dataclass(frozen=True, eq=False)
class Reached:
    """Over-refusal and attack success under ReGap at one budget, in each resample."""

    over_refusal: Float[Tensor, " resample"] = field(repr=False)
    attack_success: Float[Tensor, " resample"] = field(repr=False)

    @classmethod
    def of(cls, judged: Answers, seed: int) -> "Reached":
        """Return both shares of these answers."""
        return cls(share_draws(judged, "over_refusal", seed), share_draws(judged, "attack_success", seed))


def decide(
    fixed: Curve, reached: Mapping[float, Reached], utility: Estimate, counted: Counted, told: str = ""
) -> Claim:
    """Return the claim for ReGap's points by budget beside the curve of fixed strengths.

    utility: that of ReGap at the smallest budget minus that of the fixed strength chosen for it. told: what the
    evidence ends with.
    """
    criterion = criteria()["regap"]
    gain = criterion.effect("least_gain")
    budgets = {
        budget: simultaneous(one.attack_success - fixed.at(one.over_refusal), counted)
        for budget, one in reached.items()
    }
    differ = ", ".join(f"{_told(found)} at {budget:.0%}" for budget, found in budgets.items())
    evidence = (
        f"At equal over-refusal attack success under ReGap differs from fixed strengths by {differ} (intervals for all "
        f"{len(budgets)}); utility at {min(reached):.0%} from that of the fixed strength by {utility}{told}"
    )
    better = any(found.high < -gain for found in budgets.values())
    worse = any(found.low > 0 for found in budgets.values())
    known = all(math.isfinite(found.value) for found in budgets.values())
    kept = above(utility, -criterion.effect("most_utility_lost"))
    verdict = verdict_of((better, False), (known and not worse, worse), kept)
    return Claim.by(criterion, TITLE, verdict, evidence, budgets[min(reached)])


def _told(found: Estimate) -> str:
    """Return the estimate in words; "not reached" if every setting refuses more than this."""
    return str(found) if math.isfinite(found.value) else "not reached"
