"""Claim 1, collapse: image arms lose separability along the refusal direction, layer by layer.

The criterion is `collapse` in `criteria.toml`: the share of d' that images lose against text, on the same requests, at
the layer chosen on calibration text and at the last one, beside the share that a blank image takes. A loss at the first
alone would be a delay. Also reported: the other measures, a probe fitted on text, and a probe fitted on images, which
shows whether harmfulness is still readable in another direction. The criterion is ours; the claim is the paper's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from regap.analyses.claims.claim import Claim, Finding, above, verdict_of
from regap.analyses.claims.criteria import criteria
from regap.analyses.runs.measured import Measured
from regap.analyses.runs.records import Record
from regap.geometry.directions import Direction, logistic_probe, refusal_direction
from regap.geometry.drift import Drift
from regap.geometry.estimates import Estimate, estimate, estimates, mean_draws
from regap.geometry.forward.capture import capture
from regap.geometry.forward.hooks import Edit
from regap.geometry.separability import (
    Coordinates,
    Draws,
    Harmful,
    Weights,
    bounded,
    d_prime,
    draws,
    separability,
)
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


def share_lost(text: Coordinates, other: Coordinates, harmful: Harmful, weights: Weights) -> Draws:
    """Return 1 - d'(other) / d'(text) in each resample, for z of the same prompts; 0 is no loss, 1 all of it."""
    return 1 - d_prime(other, harmful, weights) / d_prime(text, harmful, weights)


def lost_by(seen: Measured, arm: str) -> Draws:
    """Return the share of d' lost at the chosen and at the last layer, on test pairs that have text and this arm."""
    text, other = seen.states["text"].test.aligned_with(seen.states[arm].test)
    columns = [text.layers.index(layer) for layer in (seen.layer, text.layers[-1])]
    before, after = (seen.refusal.coordinates(states)[:, columns] for states in (text, other))
    return share_lost(before, after, text.harmful, seen.weights(text))


def probes(seen: Measured) -> dict[str, Direction]:
    """Return the refusal direction and logistic probes fitted on calibration texts and, if any, images."""
    arms = {"probe_text": "text", "probe_image": seen.corrected_arm}
    fitted = {
        name: refusal_direction(seen.states[arm].calibration, logistic_probe)
        for name, arm in arms.items()
        if arm
    }
    return {"refusal": seen.refusal, **fitted}


def decide(lost: Draws, blank: Draws | None, n: int, layers: tuple[int, int] = (0, 1)) -> Claim:
    """Return the claim for the shares of d' that images and blank images lose at the chosen and the last layer."""
    criterion = criteria()["collapse"]
    least = criterion.effect("least_share")
    found = [estimate(column, n) for column in lost.T]
    conditions = [above(one, least) for one in found]
    evidence = "; ".join(
        f"images lose {one} of d' at layer {layer}" for one, layer in zip(found, layers, strict=True)
    )
    if blank is not None:
        conditions += [above(estimate(column, n)) for column in (lost - blank).T]
        beside = " and ".join(str(estimate(column, n)) for column in blank.T)
        evidence += f"; a blank image beside the text takes {beside}"
    return Claim.by(criterion, TITLE, verdict_of(*conditions), evidence, found[0])


def _claim(seen: Measured) -> Claim:
    states = seen.states[seen.image_arm]
    blank = lost_by(seen, "blank") if "blank" in seen.states else None
    layers = (seen.layer, states.layers[-1])
    claim = decide(lost_by(seen, seen.image_arm), blank, len(states.test), layers)
    return replace(claim, evidence=claim.evidence + _probe_evidence(seen))


def _probe_evidence(seen: Measured) -> str:
    found = {name: _auroc(seen, direction) for name, direction in probes(seen).items()}
    return (
        f". On {seen.image_arm} test prompts the AUROC at layer {seen.layer} is {found['refusal']} along the refusal "
        f"direction, {found['probe_text']} for a probe fitted on text and "
        f"{found['probe_image']} for one fitted on images"
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
