"""Claim 2, drift predicts collapse: more drift, less separability, more attack success.

The criterion is `drift_predicts` in `criteria.toml`. It looks at single prompts: among harmful test images, the rank
correlation of drift strength with compliance and with z. Drift strength is taken along D_across, the part of the drift
that is orthogonal to the refusal direction; along D it would contain z itself. Across models the units are models: an
exact permutation test, with a verdict from eight models on.

Also reported, and not decided on: points for each arm of one model, each model of a family, and bins of drift strength
along D_across in one arm. The drift of an arm or model is |D| divided by the distance of the class means on text, at
the layer chosen on calibration text. The criterion is ours; the claim is the paper's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from scipy.stats import permutation_test, rankdata
from torch import Tensor

from regap.analyses.claims.claim import Claim, Finding, above, below, verdict_of
from regap.analyses.claims.collapse import drift_norm_draws
from regap.analyses.claims.criteria import criteria
from regap.analyses.judges.verdicts import Judged
from regap.analyses.runs.measured import Measured
from regap.analyses.runs.records import Record
from regap.geometry.estimates import Estimate, Resamples, estimate, exact_if_constant, mean_draws
from regap.geometry.separability import d_prime

TITLE = "The more drift, the less separability and the more attack success"
BINS = 5
"""Bins of drift strength; fewer, but at least 3, if a bin would hold less than two prompts of a label."""
FEWEST_BINS = 3
WORDS = {"d_prime": "d'", "attack_success": "attack success"}
PERMUTATIONS = 100_000
"""Permutations of models that are tried; all of them if there are fewer."""


@dataclass(frozen=True, eq=False)
class DriftPoint:
    """Drift, d' and attack success of one arm, model or bin, in each resample of its prompts."""

    level: str
    name: str
    drift: Float[Tensor, " resample"] = field(repr=False)
    d_prime: Float[Tensor, " resample"] = field(repr=False)
    attack_success: Float[Tensor, " resample"] = field(repr=False)
    n: int
    clusters: int
    """Clusters of the prompts that attack success is counted on."""

    def estimate(self, quantity: str) -> Estimate:
        """Return drift, d_prime or attack_success with its interval, which is exact at a share of 0 or 1."""
        found = estimate(getattr(self, quantity), self.n)
        return exact_if_constant(found, self.clusters) if quantity == "attack_success" else found


def run(
    seen: Measured,
    answers: Mapping[str, Sequence[Judged]],
    family: Mapping[str, tuple[Measured, Sequence[Judged]]],
) -> Finding:
    """Return the points, their rank correlations, and the claim.

    `answers`: judged baseline answers of each arm; `family`: further models with their judged answers in the image
    arm.
    """
    points = [_arm_point(seen, arm, judged) for arm, judged in answers.items()]
    for name, (other, judged) in family.items():
        points.append(replace(_arm_point(other, other.image_arm, judged), level="model", name=name))
    points += _bin_points(seen, answers[seen.image_arm])
    items = item_correlations(*_items(seen, answers[seen.image_arm]))
    found = {("prompt", y): estimate(draws, items.n) for y, draws in items.draws.items()}
    for level in _levels(points):
        found |= {(level, y): _correlation(points, level, y) for y in ("d_prime", "attack_success")}
    # Resampling prompts does not resample models: theirs is the p-value, and no interval.
    found = {
        at: replace(one, low=float("nan"), high=float("nan")) if at[0] == "model" else one
        for at, one in found.items()
    }
    across = Across.of(points)
    rows = [
        {"level": level, "x": "drift", "y": y, **vars(value), "p": across.p(level, y)}
        for (level, y), value in found.items()
    ]
    tables = (Record("prediction", _table(seen, points)), Record("correlations", pd.DataFrame(rows)))
    return Finding(decide(items, across), tables)


@dataclass(frozen=True, eq=False)
class Items:
    """Rank correlations over prompts in each resample, by what drift is correlated with."""

    draws: Mapping[str, Float[Tensor, " resample"]] = field(repr=False)
    n: int


def item_correlations(
    drift: Float[Tensor, " prompt"],
    z: Float[Tensor, " prompt"],
    complied: Bool[Tensor, " prompt"],
    weights: Float[Tensor, "resample prompt"],
) -> Items:
    """Return the rank correlation of drift with compliance and with z; ranks are those of the whole sample."""
    columns = [torch.from_numpy(rankdata(values.numpy())) for values in (drift, complied.double(), z)]
    centred = [ranks - ranks.mean() for ranks in columns]
    names = ("compliance", "z")
    others = zip(names, centred[1:], strict=True)
    return Items(
        {name: weighted_correlation(centred[0], other, weights) for name, other in others}, len(drift)
    )


def weighted_correlation(
    x: Float[Tensor, " prompt"], y: Float[Tensor, " prompt"], weights: Float[Tensor, "resample prompt"]
) -> Float[Tensor, " resample"]:
    """Return the correlation of x and y in each resample; NaN where one of them does not vary."""
    moments = mean_draws(torch.stack([x, y, x * x, y * y, x * y], 1), weights)
    mean_x, mean_y, square_x, square_y, product = moments.unbind(1)
    spread = (square_x - mean_x**2).clamp_min(0) * (square_y - mean_y**2).clamp_min(0)
    return (product - mean_x * mean_y) / spread.sqrt()


def _items(seen: Measured, judged: Sequence[Judged]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return drift strength along D_across, z, compliance and weights of the judged harmful test images."""
    test = seen.states[seen.image_arm].test
    verdict = {one.pair.pair_id: one.verdict for one in judged}
    kept = [
        bool(harmful) and verdict[pair_id] != "not_judged"
        for pair_id, harmful in zip(test.pair_ids, test.harmful.tolist(), strict=True)
    ]
    if not any(kept):
        raise ValueError(f"no harmful image in the arm {seen.image_arm} was judged; choose another judge")
    some = test.take([place for place, keep in enumerate(kept) if keep])
    column = test.layers.index(seen.layer)
    drift = seen.drift.across(seen.refusal).strength(some)[:, column]
    complied = torch.tensor([verdict[pair_id] == "complied" for pair_id in some.pair_ids])
    resamples = Resamples.of(some.clusters, some.harmful, seen.config.resamples, seen.config.seed)
    return drift, seen.refusal.coordinates(some)[:, column], complied, resamples.weights


@dataclass(frozen=True)
class Across:
    """Permutation tests of the rank correlations across models; empty with less than three models."""

    models: int
    found: Mapping[str, tuple[float, float]]
    """Rank correlation of drift with it and p-value, two-sided."""

    @classmethod
    def of(cls, points: Sequence[DriftPoint]) -> "Across":
        """Return the tests for the points of models, on the samples themselves."""
        models = [point for point in points if point.level == "model"]
        drift = [float(point.drift[0]) for point in models]
        return cls.between(
            drift,
            {y: [float(getattr(point, y)[0]) for point in models] for y in ("d_prime", "attack_success")},
        )

    @classmethod
    def between(cls, drift: Sequence[float], measured: Mapping[str, Sequence[float]]) -> "Across":
        """Return the tests of drift against each measure, one number a model."""
        usable = len(drift) >= FEWEST_BINS and len(set(drift)) > 1
        named = {y: values for y, values in measured.items() if len(set(values)) > 1}
        tests = {y: _permuted(drift, values) for y, values in named.items()} if usable else {}
        return cls(len(drift), tests)

    def p(self, level: str, y: str) -> float:
        """Return the p-value of a row of the table of correlations; NaN for other levels than models."""
        return self.found[y][1] if level == "model" and y in self.found else float("nan")


def _permuted(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    one, other = (
        (ranks - ranks.mean()) / (ranks.std() * len(ranks) ** 0.5) for ranks in map(rankdata, (x, y))
    )

    def correlation(permuted: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray((permuted * one).sum(axis))

    drawn = np.random.default_rng(0)
    found = permutation_test(
        (other,),
        correlation,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        rng=drawn,
    )
    return float(found.statistic), float(found.pvalue)


def spearman(
    x: Float[Tensor, "resample point"], y: Float[Tensor, "resample point"]
) -> Float[Tensor, " resample"]:
    """Return the rank correlation over points in each resample, ties share ranks; NaN if all tie or one is NaN."""
    ranked = [torch.from_numpy(rankdata(values, axis=1, nan_policy="propagate")) for values in (x, y)]
    centred = [ranks - ranks.mean(1, keepdim=True) for ranks in ranked]
    scale = centred[0].square().sum(1).sqrt() * centred[1].square().sum(1).sqrt()
    return (centred[0] * centred[1]).sum(1) / scale


def _arm_point(seen: Measured, arm: str, judged: Sequence[Judged]) -> DriftPoint:
    everything = torch.ones(len(seen.states[arm].test), dtype=torch.bool)
    if arm == "text":
        drift = torch.zeros(seen.config.resamples + 1, dtype=torch.float64)
    else:
        norm, class_norm = drift_norm_draws(seen, arm)
        column = seen.states[arm].layers.index(seen.layer)
        drift = norm[:, column] / class_norm[:, column]
    return _point("arm", arm, seen, arm, judged, drift, everything)


def _bin_points(seen: Measured, judged: Sequence[Judged]) -> list[DriftPoint]:
    """Return points for equally large bins of drift strength along D_across, made for each label."""
    test = seen.states[seen.image_arm].test
    strength = seen.drift.across(seen.refusal).strength(test)[:, test.layers.index(seen.layer)]
    place, labels = torch.empty(len(test), dtype=torch.long), (test.harmful, ~test.harmful)
    bins = min(BINS, max(FEWEST_BINS, min(int(mask.sum()) for mask in labels) // 2))
    for mask in labels:
        place[mask] = strength[mask].argsort().argsort() * bins // int(mask.sum())
    weights, points = seen.weights(test), []
    for index in range(bins):
        inside = place == index
        drift = mean_draws(strength[inside][:, None], weights[:, inside])[:, 0]
        points.append(_point("bin", f"{index + 1} of {bins}", seen, seen.image_arm, judged, drift, inside))
    return points


def _point(
    level: str,
    name: str,
    seen: Measured,
    arm: str,
    judged: Sequence[Judged],
    drift: Float[Tensor, " resample"],
    inside: Bool[Tensor, " prompt"],
) -> DriftPoint:
    test = seen.states[arm].test
    weights = seen.weights(test)[:, inside]
    harmful = test.harmful[inside]
    z = seen.refusal.coordinates(test)[inside][:, [test.layers.index(seen.layer)]]
    verdict = {one.pair.pair_id: one.verdict for one in judged}
    found = [verdict[pair_id] for pair_id, kept in zip(test.pair_ids, inside.tolist(), strict=True) if kept]
    complied = torch.tensor([float(one == "complied") for one in found])[:, None]
    counted = harmful & torch.tensor([one != "not_judged" for one in found], dtype=torch.bool)
    success = mean_draws(complied[counted], weights[:, counted])[:, 0]
    clusters = len(set(np.asarray(test.clusters)[inside.numpy()][counted.numpy()]))
    separable = d_prime(z, harmful, weights)[:, 0]
    return DriftPoint(level, name, drift, separable, success, int(inside.sum()), clusters)


def _levels(points: Sequence[DriftPoint]) -> list[str]:
    """Return the levels with at least three points, since two always correlate."""
    names = [point.level for point in points]
    return [level for level in dict.fromkeys(names) if names.count(level) >= 3]


def _correlation(points: Sequence[DriftPoint], level: str, y: str) -> Estimate:
    kept = [point for point in points if point.level == level]
    x = torch.stack([point.drift for point in kept], 1)
    return estimate(spearman(x, torch.stack([getattr(point, y) for point in kept], 1)), len(kept))


def decide(items: Items, across: Across) -> Claim:
    """Return the claim for the correlations over prompts, and across models if there are enough of them."""
    criterion = criteria()["drift_predicts"]
    least, enough = criterion.effect("least_correlation"), criterion.effect("least_models")
    complied, z = (estimate(items.draws[name], items.n) for name in ("compliance", "z"))
    conditions = [above(complied, least), below(z, -least)]
    evidence = (
        f"Among {items.n} harmful images the rank correlation of drift along D_across is {complied} with compliance "
        f"and {z} with z"
    )
    told = [f"{WORDS[y]} {correlation:.2f} (p = {p:.2g})" for y, (correlation, p) in across.found.items()]
    if across.models >= enough:
        signs = {"d_prime": -1.0, "attack_success": 1.0}
        for y, sign in signs.items():
            correlation, p = across.found.get(y, (0.0, 1.0))
            conditions.append((p < 0.05 and sign * correlation > 0, p < 0.05 and sign * correlation < 0))
        evidence += (
            f"; across {across.models} models with {', '.join(told) or 'nothing, which does not vary'}"
        )
    elif across.models:
        evidence += (
            f"; {across.models} models are too few for a verdict across models, which takes {enough:.0f}"
            + (f" ({', '.join(told)})" if told else "")
        )
    return Claim.by(criterion, TITLE, verdict_of(*conditions), evidence, complied)


def _table(seen: Measured, points: Sequence[DriftPoint]) -> pd.DataFrame:
    rows = []
    for point in points:
        row: dict[str, object] = {"level": point.level, "name": point.name, "n": point.n}
        row["model"] = point.name if point.level == "model" else seen.model.name
        for quantity in ("drift", "d_prime", "attack_success"):
            found = point.estimate(quantity)
            row |= {quantity: found.value, f"{quantity}_low": found.low, f"{quantity}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)
