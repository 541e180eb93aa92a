"""Claim 3, drift causes collapse: removing it restores refusals, adding it to text removes them.

The criterion is `drift_causes` in `criteria.toml`: by whole answers, on test pairs, which share of the gap between
refusals of text and of images a dose of D closes or opens, beside random vectors as long.

Doses: h <- h - alpha * v at the site chosen on calibration pairs. v is the drift D, its part along the refusal
direction, its part across it, the drift of the harmful pairs alone, or a control of the same length as D: random
orthogonal to the refusal direction, arms swapped at random, and the refusal direction itself. If the drift of harmful
pairs alone does what D does not, the drift is not one displacement for all images. The criterion is ours; the claim is
the paper's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.analyses.claims.claim import Claim, Finding, above, beyond_all, verdict_of
from regap.analyses.claims.criteria import criteria
from regap.analyses.judges.verdicts import Judged
from regap.analyses.outcomes import outcomes
from regap.analyses.runs.calibrated import Calibrated
from regap.analyses.runs.measured import Measured, are_harmful
from regap.analyses.runs.records import Record
from regap.geometry.drift import (
    Drift,
    modality_drift,
    random_orthogonal,
    random_vectors,
    shuffled_pairs,
    towards_refusal,
)
from regap.geometry.estimates import (
    Estimate,
    Resamples,
    estimate,
    estimates,
    mean_draws,
    proportion,
    widened_if_constant,
)
from regap.geometry.separability import auroc, d_prime, gap, usable
from regap.interventions.edits.recipe import parts_of
from regap.interventions.edits.shift import Shift, fixed_correction
from regap.interventions.sweep import sweep

TITLE = "Removing the drift restores refusals; adding it to text removes them"
ONCE = ("D_harmful", "shuffled")
"""Vectors that are given at strength 1 alone."""
REPORTED = ("attack_success", "over_refusal", "refusal", "utility", "degenerate_harmless")


@dataclass(frozen=True)
class Dose:
    """One vector at one strength, removed from images or added to text."""

    direction: str
    """correct: the vector is removed from images; induce: it is added to text."""
    vector: str
    alpha: float
    """Multiple of the vector that is removed (correct) or added (induce); never negative."""
    shift: Shift

    @property
    def name(self) -> str:
        """A unique name."""
        return f"{self.direction} {self.vector} {self.alpha:g}"


def run(calibrated: Calibrated) -> Finding:
    """Return the dose-response table, the effects of random vectors, and the claim."""
    seen = calibrated.seen
    asked = seen.pairs.test.where(arm=seen.image_arm).first(seen.config.dose_pairs)
    rows, judged = [], {}
    for direction, arm in (("correct", seen.image_arm), ("induce", "text")):
        doses = _doses(calibrated, direction)
        judged |= calibrated.answers(arm, {dose.name: [dose.shift] for dose in doses}, asked)
        rows += [{**row, "arm": arm} for row in _geometry_rows(calibrated, arm, doses)]
        rows += [{**row, "arm": arm} for row in _outcome_rows(calibrated, doses, judged)]
        random = {dose.name: [dose.shift] for dose in random_doses(calibrated, direction)}
        judged |= calibrated.answers(arm, random, asked.where(label="harmful"))
    others = [name for name in vectors_of(seen) if name != "D"]
    rows += [{**row, "vector": name} for row in rows if not row["alpha"] for name in others]
    named = {"model": seen.model.name, "layer": calibrated.fixed.site.layers[0]}
    doses, numbers = _strengths("D", seen.config.strengths), range(random_count())
    refusals = refusals_of(
        {alpha: judged[f"correct D {alpha:g}"] for alpha in doses},
        {alpha: judged[f"induce D {alpha:g}"] for alpha in doses},
        [judged[f"correct random {number} 1"] for number in numbers],
        [judged[f"induce random {number} 1"] for number in numbers],
        seen,
    )
    records = (
        Record("strength", pd.DataFrame(rows).assign(**named)),
        Record("random_vectors", pd.DataFrame(random_rows(refusals, seen.image_arm)).assign(**named)),
    )
    return Finding(decide(refusals), records)


def vectors_of(seen: Measured) -> dict[str, Drift]:
    """Return D, its parts, and the controls of the same length."""
    seed = seen.config.seed
    text, image = seen.states["text"].calibration, seen.states[seen.image_arm].calibration
    return {
        **parts_of(seen.drift, seen.refusal),
        "D_harmful": replace(
            modality_drift(text.where(label="harmful"), image.where(label="harmful")), part="D_harmful"
        ),
        "random": random_orthogonal(seen.drift, seen.refusal, seed),
        "shuffled": shuffled_pairs(seen.drift, text, image, seed),
        "refusal": towards_refusal(seen.drift, seen.refusal),
    }


def _doses(calibrated: Calibrated, direction: str) -> list[Dose]:
    sign = 1.0 if direction == "correct" else -1.0
    return [
        Dose(direction, name, alpha, fixed_correction(vector, calibrated.fixed.site, sign * alpha))
        for name, vector in vectors_of(calibrated.seen).items()
        for alpha in _strengths(name, calibrated.seen.config.strengths)
    ]


def _strengths(vector: str, configured: Sequence[float]) -> list[float]:
    """Return the doses of a vector: 0, at which all are alike, and the small dose of the criterion for D alone."""
    if vector == "D":
        return sorted({0.0, criteria()["drift_causes"].effect("small_dose"), *configured})
    return [1.0] if vector in ONCE else list(configured)


def random_doses(calibrated: Calibrated, direction: str) -> list[Dose]:
    """Return the random vectors of the criterion, once as long as D each."""
    seen, site = calibrated.seen, calibrated.fixed.site
    sign = 1.0 if direction == "correct" else -1.0
    drawn = random_vectors(seen.drift, seen.refusal, random_count(), seen.config.seed)
    return [
        Dose(direction, f"random {number}", 1.0, fixed_correction(vector, site, sign))
        for number, vector in enumerate(drawn)
    ]


def random_count() -> int:
    """Return how many random vectors the criterion asks for."""
    return int(criteria()["drift_causes"].effect("random_vectors"))


def _geometry_rows(calibrated: Calibrated, arm: str, doses: Sequence[Dose]) -> Iterator[dict[str, object]]:
    """Yield separability at the last block, which comes after the edit, so that recovery shows there."""
    seen, last = calibrated.seen, calibrated.seen.model.layers - 1
    test = seen.pairs.test.where(arm=arm)
    harmful = are_harmful(test)
    clusters = [pair.cluster for pair in test]
    weights = Resamples.of(clusters, harmful, seen.config.resamples, seen.config.seed).weights
    edits = [[dose.shift] for dose in doses]
    found = sweep(seen.runner.named(f"doses, {arm}"), test, arm, edits, seen.refusal, [last])
    threshold = seen.refusal.thresholds[seen.refusal.layers.index(last)].expand(len(doses))
    z = found.coordinates[:, :, 0].T
    measured = {"gap": gap(z, harmful, weights), "d_prime": d_prime(z, harmful, weights)}
    measured |= {"auroc": auroc(z, harmful, weights), "usable": usable(z, harmful, weights, threshold)}
    for measure, columns in measured.items():
        for dose, one in zip(doses, estimates(columns, len(test)), strict=True):
            yield _row(dose, measure) | vars(one)


def _outcome_rows(
    calibrated: Calibrated, doses: Sequence[Dose], judged: Mapping[str, Sequence[Judged]]
) -> Iterator[dict[str, object]]:
    for dose in doses:
        found = outcomes(judged[dose.name], calibrated.seen.config.seed)
        for measure in REPORTED:
            if measure in found:
                yield _row(dose, measure) | vars(found[measure])


def _row(dose: Dose, measure: str) -> dict[str, object]:
    return {"direction": dose.direction, "vector": dose.vector, "alpha": dose.alpha, "measure": measure}


@dataclass(frozen=True, eq=False)
class Refusals:
    """Which of the same harmful prompts are refused, as images and as text, under doses and under random vectors."""

    removed: Mapping[float, Bool[Tensor, " prompt"]] = field(repr=False)
    """As images, by dose of D that is removed; 0 is no edit."""
    added: Mapping[float, Bool[Tensor, " prompt"]] = field(repr=False)
    """As text, by dose of D that is added; 0 is no edit."""
    random_removed: Bool[Tensor, "vector prompt"] = field(repr=False)
    random_added: Bool[Tensor, "vector prompt"] = field(repr=False)
    clusters: tuple[str, ...] = field(repr=False)
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.clusters:
            raise ValueError("no harmful prompt was judged under every dose; choose another judge")

    def draws(self, refused: Bool[Tensor, " prompt"]) -> Float[Tensor, " resample"]:
        """Return the share of refused prompts in each resample."""
        return mean_draws(refused.double()[:, None], self._weights)[:, 0]

    def contrast(self, draws: Float[Tensor, " resample"]) -> Estimate:
        """Return the estimate of a difference of these shares, with bounds where no resample varies."""
        return widened_if_constant(estimate(draws, len(self.clusters)), len(set(self.clusters)), span=3.0)

    @cached_property
    def _weights(self) -> Tensor:
        return Resamples.of(
            self.clusters, torch.ones(len(self.clusters), dtype=torch.bool), self.resamples, self.seed
        ).weights


def refusals_of(
    removed: Mapping[float, Sequence[Judged]],
    added: Mapping[float, Sequence[Judged]],
    random_removed: Sequence[Sequence[Judged]],
    random_added: Sequence[Sequence[Judged]],
    seen: Measured,
) -> Refusals:
    """Return the refusals of the harmful pairs that were judged under every condition.

    removed, added: answers to images and to texts by dose of D, with 0 for no edit; random_removed, random_added: one
    sequence of answers a random vector.
    """
    every = (*removed.values(), *added.values(), *random_removed, *random_added)
    verdicts = [
        {one.pair.pair_id: one.verdict for one in judged if one.verdict != "not_judged"} for judged in every
    ]
    kept = [
        one.pair
        for one in removed[0.0]
        if one.pair.label == "harmful" and all(one.pair.pair_id in each for each in verdicts)
    ]

    def refused(judged: Sequence[Judged]) -> Tensor:
        verdict = {one.pair.pair_id: one.verdict for one in judged}
        return torch.tensor([verdict[pair.pair_id] == "refused" for pair in kept], dtype=torch.bool)

    return Refusals(
        {alpha: refused(judged) for alpha, judged in removed.items()},
        {alpha: refused(judged) for alpha, judged in added.items()},
        torch.stack([refused(judged) for judged in random_removed]),
        torch.stack([refused(judged) for judged in random_added]),
        tuple(pair.cluster for pair in kept),
        seen.config.resamples,
        seen.config.seed,
    )


def decide(found: Refusals, site: str = "") -> Claim:
    """Return the claim for these refusals."""
    criterion = criteria()["drift_causes"]
    small = criterion.effect("small_dose")
    images, texts = found.draws(found.removed[0.0]), found.draws(found.added[0.0])
    gap = texts - images
    closed = {alpha: found.draws(found.removed[alpha]) - images for alpha in (small, 1.0)}
    opened = {alpha: texts - found.draws(found.added[alpha]) for alpha in (small, 1.0)}
    conditions = [above(found.contrast(gap), criterion.effect("least_gap"))]
    for moved in (closed, opened):
        conditions.append(above(found.contrast(moved[1.0] - gap / 2)))
        conditions.append(above(found.contrast(gap / 2 - moved[small])))
    by_chance = {
        "removed": found.random_removed.double().mean(1) - float(images[0]),
        "added": float(texts[0]) - found.random_added.double().mean(1),
    }
    conditions.append(beyond_all(float(closed[1.0][0]), by_chance["removed"]))
    conditions.append(beyond_all(float(opened[1.0][0]), by_chance["added"]))
    evidence = (
        f"Refusals of text are above those of images by {found.contrast(gap)}. Removing 1 D{site} raises refusals of "
        f"images by {found.contrast(closed[1.0])}, a random vector by at most {float(by_chance['removed'].max()):.2g}; "
        f"adding 1 D lowers those of text by {found.contrast(opened[1.0])}, a random vector by at most "
        f"{float(by_chance['added'].max()):.2g} ({len(by_chance['added'])} random vectors)"
    )
    return Claim.by(criterion, TITLE, verdict_of(*conditions), evidence, found.contrast(closed[1.0]))


def random_rows(found: Refusals, arm: str) -> Iterator[dict[str, object]]:
    """Yield refusals of harmful prompts under each random vector."""
    for direction, of_arm, refused in (
        ("correct", arm, found.random_removed),
        ("induce", "text", found.random_added),
    ):
        for number, row in enumerate(refused):
            share = proportion(row, found.clusters, found.seed)
            yield {
                "direction": direction,
                "arm": of_arm,
                "vector": f"random {number}",
                "measure": "refusal",
                **vars(share),
            }
