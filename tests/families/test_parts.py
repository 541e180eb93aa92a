"""Parts of blocks in every family: what they write adds up, edits equal raw hooks, packed versions equal single ones."""

import pytest
import torch
from parity import Subject, difference, raw_hook, subject
from tiny_models import FAMILIES
from tiny_parts import LAYERS, WIDTH
from torch import Tensor

from regap.geometry.forward import Hook, prefill, run, run_last_token
from regap.geometry.packed import packs_versions, run_versions
from regap.geometry.parts import part_name
from regap.interventions.fixed import Shift
from regap.interventions.sites import Site

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def each(request: pytest.FixtureRequest) -> Subject:
    return subject(request.param, "float32")


every_family = pytest.mark.parametrize("each", list(FAMILIES), indirect=True)


def layers_of(of: Subject) -> list[int]:
    return [layer for layer in range(LAYERS) if layer not in of.model.crossing]
