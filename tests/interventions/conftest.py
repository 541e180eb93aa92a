"""Directions and drifts of the random model, found on its own calibration pairs."""

from collections.abc import Mapping

import pytest

from regap.geometry.activations import Activations
from regap.geometry.capture import capture
from regap.geometry.directions import Direction, refusal_direction
from regap.geometry.drift import Drift, modality_drift
from regap.geometry.models import Model
from regap.geometry.pairs import Pairs


@pytest.fixture(scope="session")
def states(tiny: Model, tiny_pairs: Pairs) -> Mapping[str, Activations]:
    return capture(tiny, tiny_pairs)


@pytest.fixture(scope="session")
def refusal(states: Mapping[str, Activations]) -> Direction:
    return refusal_direction(states["text"].calibration)


@pytest.fixture(scope="session")
def drift(states: Mapping[str, Activations]) -> Drift:
    return modality_drift(states["text"].calibration, states["typographic"].calibration)
