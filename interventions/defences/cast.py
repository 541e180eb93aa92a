"""CAST: similarity with a condition vector opens a gate, and an open gate adds one fixed vector."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.interventions.defences.calibration import DefenceData, Dose, FittedRule
from regap.interventions.edits.shift import GatedShift
from regap.interventions.edits.site import Site


@dataclass(frozen=True, eq=False)
class SimilarityCondition(FittedRule):
    """1 if sign * similarity is above sign * threshold, else 0."""

    vector: Float[Tensor, " d_model"] = field(repr=False)
    threshold: float
    sign: int
    """1: the gate opens above the threshold; -1: below it."""

    def __call__(self, states: Float[Tensor, "prompt 1 d_model"]) -> Float[Tensor, " prompt"]:
        """Return whether the gate is open for each prompt."""
        above = self.sign * (similarity(states[:, 0], self.vector) - self.threshold)
        return (above > 0).to(states.dtype)


def cast(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h + strength * 1[cos(h', tanh(P_c h')) beyond threshold] * (mean harmful - mean harmless).

    P_c = c c^T / c^T c, h' the unedited state at the condition layer. Source: CAST, arXiv 2409.05907, code read: the
    threshold found by a grid search for F1. Needs: one reading pass. Assumed: c is the refusal direction of
    `read_layer`; the last token is compared; F1 is for the harmful calibration images; the gate may open on either
    side; at image tokens the gap is that of states read there, and the condition is still read at the last token.
    """
    layer = calibration.read_layer
    vector = calibration.refusal.at(layer)
    scores = similarity(calibration.image.at(layer).double(), vector)
    condition = best_condition(vector, scores, calibration.image.harmful)
    refusal = calibration.refusal_dose(site)
    return lambda strength: [GatedShift(refusal(strength), (layer,), condition)]


def similarity(
    states: Float[Tensor, "prompt d_model"], vector: Float[Tensor, " d_model"]
) -> Float[Tensor, " prompt"]:
    """Return cos(h, tanh(P_c h)), which does not depend on the sign of the coordinate."""
    vector = vector.to(states)
    projected = ((states @ vector) / vector.square().sum())[:, None] * vector
    return torch.nn.functional.cosine_similarity(states, torch.tanh(projected), dim=-1)


def best_condition(
    vector: Float[Tensor, " d_model"], scores: Float[Tensor, " prompt"], harmful: Bool[Tensor, " prompt"]
) -> SimilarityCondition:
    """Return the condition with the highest F1 among all thresholds midway between scores, on either side."""
    ordered = scores.unique()
    thresholds = (ordered[1:] + ordered[:-1]) / 2 if len(ordered) > 1 else ordered
    best, found = -1.0, SimilarityCondition(vector, float(thresholds[0]), 1)
    for sign in (1, -1):
        is_open = sign * (scores - thresholds[:, None]) > 0
        hits = (is_open & harmful).sum(1)
        f1 = 2 * hits / (is_open.sum(1) + harmful.sum()).clamp_min(1)
        if float(f1.max()) > best:
            best, found = float(f1.max()), SimilarityCondition(vector, float(thresholds[f1.argmax()]), sign)
    return found
