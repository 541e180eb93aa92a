"""Claim 1, collapse: image arms lose separability along the refusal direction, layer by layer.

Criterion, written before any run. At the layer chosen on calibration text:
(a) the interval of d' of text minus d' of the image arm, paired, is above 0; (b) this difference is above that of the
blank arm, if there is one, so an image as such does not cause it. The claim holds if both do, does not hold if either
interval lies below 0, and is unclear otherwise. Also reported: the other measures, a probe fitted on text, and a probe
fitted on images, which shows whether harmfulness is still readable in another direction. The criterion is ours; the
claim is the paper's.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from regap.analyses.claims.claim import Claim, Finding, above, verdict_of
from regap.analyses.runs.measured import Measured
from regap.analyses.runs.records import Record
from regap.geometry.directions import Direction, logistic_probe, refusal_direction
from regap.geometry.drift import Drift
from regap.geometry.estimates import Estimate, estimate, estimates, mean_draws
from regap.geometry.forward.capture import capture
from regap.geometry.forward.hooks import Edit
from regap.geometry.separability import bounded, draws, separability
from regap.geometry.states.activations import Activations


def coordinates_record(seen: Measured, states: Mapping[str, Mapping[str, Activations]]) -> Record:
    """Return one row per prompt, layer and condition; drift strength is for the corrected arm's drift, or NaN."""
    tables = []
    for condition, arms in states.items():
        for arm, of_arm in arms.items():
            refusal = seen.refusal.coordinates(of_arm)
            drift = seen.drift.strength(of_arm) if seen.corrected_arm else torch.full_like(refusal, torch.nan)
            table = pd.DataFrame(list(_coordinate_rows(of_arm, refusal, drift)))
            tables.append(table.assign(model=seen.model.name, arm=arm, condition=condition))
    return Record("coordinates", pd.concat(tables))


def _coordinate_rows(states: Activations, refusal: Tensor, drift: Tensor) -> Iterator[dict[str, Any]]:
    for row, z, delta in zip(states.rows, refusal.tolist(), drift.tolist(), strict=True):
        known = {"pair_id": row.pair_id, "label": row.label, "category": row.category, "split": row.split}
        for layer, coordinate, strength in zip(states.layers, z, delta, strict=True):
            yield known | {"layer": layer, "refusal": coordinate, "drift": strength}


TITLE = "Images collapse the separation of harmful from harmless along the refusal direction"
CRITERION = (
    "At the layer chosen on calibration text, d' of text minus d' of the image arm has its interval above 0, "
    "and is above the same difference of the blank arm."
)


def run(seen: Measured, conditions: Mapping[str, Sequence[Edit]]) -> Finding:
    """Return the claim, with separability of every arm, layer and condition, the drifts and all coordinates."""
    return Finding(_claim(seen), geometry_records(seen, conditions))


def geometry_records(
    seen: Measured, conditions: Mapping[str, Sequence[Edit]] = MappingProxyType({})
) -> tuple[Record, ...]:
    """Return the tables separability, drift (if there is another arm than text) and coordinates."""
    states = {"baseline": dict(seen.states)} | _corrected(seen, conditions)
    drift = (drift_record(seen),) if seen.drifts else ()
    return (_separability(seen, states), *drift, coordinates_record(seen, states))


def d_prime_drop(seen: Measured, arm: str) -> Tensor:
    """Return d' of text minus d' of an arm at the chosen layer, in each resample, on pairs that have both."""
    text, other = seen.states["text"].test.aligned_with(seen.states[arm].test)
    column, resamples = text.layers.index(seen.layer), seen.resamples(text)
    both = [draws(states, seen.refusal, resamples)["d_prime"][:, column] for states in (text, other)]
    return both[0] - both[1]


def probes(seen: Measured) -> dict[str, Direction]:
    """Return the refusal direction and logistic probes fitted on calibration texts and, if any, images."""
    arms = {"probe_text": "text", "probe_image": seen.corrected_arm}
    fitted = {
        name: refusal_direction(seen.states[arm].calibration, logistic_probe)
        for name, arm in arms.items()
        if arm
    }
    return {"refusal": seen.refusal, **fitted}


def _claim(seen: Measured) -> Claim:
    n = len(seen.states[seen.image_arm].test)
    drop = d_prime_drop(seen, seen.image_arm)
    found = estimate(drop, n)
    conditions = [above(found)]
    evidence = f"d' {_change(found)} from text to {seen.image_arm} at layer {seen.layer}"
    if "blank" in seen.states:
        blank = d_prime_drop(seen, "blank")
        conditions.append(above(estimate(drop - blank, n)))
        other = _change(estimate(blank, n))
        other = other.removeprefix("falls ") if _change(found).startswith("falls ") else other
        evidence += f"; {other} from text to text with a blank image"
    usable = _probe_evidence(seen)
    return Claim("collapse", TITLE, verdict_of(*conditions), CRITERION, evidence + usable, found)


def _change(fall: Estimate) -> str:
    """Return a fall in words; a negative fall is a rise."""
    if not fall.value < 0:
        return f"falls by {fall}"
    return f"rises by {Estimate(-fall.value, -fall.high, -fall.low, fall.n)}"


def _probe_evidence(seen: Measured) -> str:
    found = {name: _auroc(seen, direction) for name, direction in probes(seen).items()}
    return (
        f". On {seen.image_arm} test prompts the AUROC there is {found['refusal']} along the refusal direction, "
        f"{found['probe_text']} for a probe fitted on text and {found['probe_image']} for one fitted on images"
    )


def _auroc(seen: Measured, direction: Direction) -> Estimate:
    test = seen.states[seen.image_arm].test
    found = draws(test, direction, seen.resamples(test))["auroc"]
    return bounded("auroc", estimate(found[:, test.layers.index(seen.layer)], len(test)), test)


def _corrected(seen: Measured, conditions: Mapping[str, Sequence[Edit]]) -> dict[str, dict[str, Activations]]:
    """Return the states of text and image arm under each correction."""
    found = {}
    for name, edits in conditions.items():
        if not edits:
            continue
        runner = seen.runner.within("activations").within(f"{name}-{edits[0].identity[:12]}")
        arms = ["text", seen.image_arm]
        told = f"residual streams under {name}"
        found[name] = capture(runner.named(told), seen.pairs.test, arms, edits=edits)
    return found


def _separability(seen: Measured, states: Mapping[str, Mapping[str, Activations]]) -> Record:
    tables = []
    for condition, arms in states.items():
        for name, direction in probes(seen).items():
            table = separability(
                arms,
                direction,
                model=seen.model.name,
                condition=condition,
                name=name,
                resamples=seen.config.resamples,
                seed=seen.config.seed,
            )
            tables.append(table)
    return Record("separability", pd.concat(tables))


def drift_record(seen: Measured) -> Record:
    """Return the table `drift`: norms on test pairs with intervals, and the parts of the fitted drift."""
    rows = [
        {"model": seen.model.name, "arm": arm, "layer": layer, "measure": measure, **vars(found)}
        for arm, drift in seen.drifts.items()
        for measure, column in _drift_estimates(seen, arm, drift).items()
        for layer, found in zip(drift.layers, column, strict=True)
    ]
    return Record("drift", pd.DataFrame(rows))


def drift_norm_draws(seen: Measured, arm: str) -> tuple[Tensor, Tensor]:
    """Return |D| of an arm and |mean harmful text - mean harmless text| on test pairs, by resample and layer."""
    text, other = seen.states["text"].test.aligned_with(seen.states[arm].test)
    weights, moved, apart = seen.weights(text), [], []
    for layer in text.layers:
        states = text.at(layer).double()
        drift = _label_means(other.at(layer).double() - states, text.harmful, weights)
        moved.append(((drift[0] + drift[1]) / 2).norm(dim=-1))
        classes = _label_means(states, text.harmful, weights)
        apart.append((classes[0] - classes[1]).norm(dim=-1))
    return torch.stack(moved, 1), torch.stack(apart, 1)


def _label_means(states: Tensor, harmful: Tensor, weights: Tensor) -> list[Tensor]:
    """Return the mean state of harmful and of harmless prompts in each resample."""
    return [mean_draws(states[mask], weights[:, mask]) for mask in (harmful, ~harmful)]


def _drift_estimates(seen: Measured, arm: str, drift: Drift) -> dict[str, list[Estimate]]:
    n = len(seen.states[arm].test)
    norm, class_norm = drift_norm_draws(seen, arm)
    found = {"norm": norm, "class_norm": class_norm, "relative_norm": norm / class_norm}
    fitted = {
        "norm_along": drift.along(seen.refusal).vectors.norm(dim=-1),
        "norm_across": drift.across(seen.refusal).vectors.norm(dim=-1),
        "cosine": torch.cosine_similarity(drift.vectors, seen.refusal.vectors, dim=-1),
    }
    fixed = {
        name: [Estimate(float(v), float("nan"), float("nan"), n) for v in column]
        for name, column in fitted.items()
    }
    return {name: estimates(column, n) for name, column in found.items()} | fixed
