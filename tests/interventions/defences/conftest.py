"""The random model with all that a method may be fitted on."""

from collections.abc import Mapping

import pytest
import torch

from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction
from regap.geometry.drift import modality_drift
from regap.geometry.forward.runner import Runner
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.geometry.states.activations import Activations
from regap.interventions.defences.calibration import DefenceData


@pytest.fixture(scope="session")
def calibration(
    tiny: Model, tiny_pairs: Pairs, states: Mapping[str, Activations], refusal: Direction
) -> DefenceData:
    found = {arm: each.calibration for arm, each in states.items()}
    drifts = {arm: modality_drift(found["text"], found[arm]) for arm in found if arm != "text"}
    refused = frozenset(found["typographic"].pair_ids[::3])
    return DefenceData(
        Runner(tiny), tiny_pairs, "typographic", found, refusal, drifts, 1, 0.2, frozenset({7, 11}), refused
    )


@pytest.fixture
def asked(tiny_pairs: Pairs) -> Pairs:
    """Test pairs, labels of both kinds."""
    return tiny_pairs.test.where(arm="typographic")


@pytest.fixture
def batch(tiny: Model, asked: Pairs) -> Batch:
    """A fresh batch of the first image prompts of test pairs: nothing of it has been run."""
    prompts = [pair.prompts["typographic"] for pair in asked][:4]
    with torch.inference_mode():
        return collate(tiny, prompts, range(4))
