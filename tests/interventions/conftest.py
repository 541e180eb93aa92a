"""Directions, drifts and packs of the random model, found on its own calibration pairs."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from regap.geometry.activations import Activations
from regap.geometry.capture import capture
from regap.geometry.directions import Direction, refusal_direction
from regap.geometry.drift import Drift, modality_drift
from regap.geometry.identity import identity_of
from regap.geometry.models import Model
from regap.geometry.pairs import Pairs
from regap.geometry.prompts import Batch, collate
from regap.interventions.fixed import Shift, fixed_correction
from regap.interventions.gates import Gate
from regap.interventions.pack_card import Source
from regap.interventions.packing import correction_of
from regap.interventions.packs import Pack
from regap.interventions.regap import ReGap, read_traces
from regap.interventions.sites import Site


@pytest.fixture(scope="session")
def states(tiny: Model, tiny_pairs: Pairs) -> Mapping[str, Activations]:
    return capture(tiny, tiny_pairs)


@pytest.fixture(scope="session")
def refusal(states: Mapping[str, Activations]) -> Direction:
    return refusal_direction(states["text"].calibration)


@pytest.fixture(scope="session")
def drift(states: Mapping[str, Activations]) -> Drift:
    return modality_drift(states["text"].calibration, states["typographic"].calibration)


@pytest.fixture(scope="session")
def source() -> Source:
    digests = {"run": "run", "pairs_sha256": "pairs"}
    return Source(**digests, pairs=6, image_arm="typographic", false_refusals=0.05, seed=0, versions={})


@pytest.fixture(scope="session")
def pictured(tiny: Model, tiny_pairs: Pairs) -> Batch:
    prompts = [pair.prompts["typographic"] for pair in tiny_pairs.test.first(3)]
    return collate(tiny, prompts, range(len(prompts)))


@pytest.fixture(scope="session")
def words(tiny: Model, tiny_pairs: Pairs) -> Batch:
    prompts = [pair.prompts["text"] for pair in tiny_pairs.test.first(3)]
    return collate(tiny, prompts, range(len(prompts)))


@pytest.fixture(scope="session")
def shift(drift: Drift) -> Shift:
    return fixed_correction(drift, Site((1,)), 3.0)


@pytest.fixture(scope="session")
def regap(tiny: Model, pictured: Batch, shift: Shift, refusal: Direction) -> ReGap:
    """Opens for some of the prompts, by as much as each asks for."""
    layers = (2, 3)
    signal = read_traces(tiny, pictured, shift.at(1.0), refusal, layers).signal("rho")
    low, high = signal.min().item(), signal.max().item()
    return ReGap(shift.at(1.0), refusal, layers, Gate("line", (low + high) / 2, (high - low) / 1.5), 3.0)


@pytest.fixture(scope="session")
def strengths(tiny: Model, pictured: Batch, regap: ReGap) -> dict[str, list[float]]:
    """Of every prompt, by the bridge."""
    gated = regap.strengths(tiny, pictured).tolist()
    assert min(gated) == 0.0 and len(set(gated)) > 2  # shut, open, and in between
    return {"fixed": [3.0] * len(pictured), "regap": gated}


@pytest.fixture(scope="session")
def packs(plain: Any, refusal: Direction, shift: Shift, regap: ReGap, source: Source) -> dict[str, Pack]:
    identity = identity_of(plain)
    edits = {"fixed": shift, "regap": regap}
    return {
        name: Pack.of("tiny", identity, correction_of(edit, refusal), source) for name, edit in edits.items()
    }


@pytest.fixture
def model(plain: Any) -> Iterator[Any]:
    """The plain model, which every test must leave as it was."""
    yield plain
    assert not {"forward", "generate", "generate_batch", "_regap_protection"} & set(vars(plain))
    assert not ours_left_on(plain)


def ours_left_on(model: Any) -> list[Any]:
    """Hooks of ours; Hugging Face has some of its own."""
    hooks = [
        hook
        for each in model.modules()
        for hook in (*each._forward_hooks.values(), *each._forward_pre_hooks.values())
    ]
    return [hook for hook in hooks if hook.__module__.startswith("regap")]
