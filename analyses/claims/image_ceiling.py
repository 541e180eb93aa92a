"""An upper bound for gates of this form: a gate on a probe that is fitted on harmful and harmless images."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from regap.analyses.calibration.choice import SignalReadings
from regap.geometry.directions import logistic_probe
from regap.geometry.states.activations import Activations
from regap.interventions.edits.fitted_signal import folds_of
from regap.interventions.edits.gate import refusal_thresholds
from regap.interventions.edits.recipe import Removal


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
