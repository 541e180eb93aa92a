"""Directions, drifts and packs of the random model, found on its own calibration pairs."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction, refusal_direction
from regap.geometry.drift import Drift, modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.models.identity import identity_of
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.geometry.states.activations import Activations
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.regap import ReGap, read_traces
from regap.interventions.edits.shift import Shift, fixed_correction
from regap.interventions.edits.site import Site
from regap.interventions.packs.pack import Pack, PackSource


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
def source() -> PackSource:
    digests = {"run": "run", "pairs_sha256": "pairs"}
    return PackSource(**digests, pairs=6, image_arm="typographic", false_refusals=0.05, seed=0, versions={})


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
def edits(
    tiny: Model, pictured: Batch, shift: Shift, drift: Drift, refusal: Direction
) -> dict[str, Shift | ReGap]:
    """One of each kind that a pack can hold; gates open for some of the prompts, by as much as each asks for."""

    def opening(gated: ReGap, upper: float = 0.5) -> ReGap:
        z = read_traces(tiny, pictured, gated.probe, refusal, gated.read_layers)
        signal = z.weighted(gated.reading)
        low, high = signal.min().item(), signal.max().item()
        return replace(gated, gate=Gate("line", low + upper * (high - low), (high - low) / 1.5))

    shut, late = Gate("line", 0.0), fixed_correction(drift, Site((2,)), 1.0)
    early, weights = (
        fixed_correction(drift, Site((0,)), 1.0),
        torch.tensor([[0.3, -1.0, 0.2], [0.5, 0.4, -0.7]]),
    )
    edited_twice = fixed_correction(drift, Site((2, 3)), 1.0)
    return {
        "fixed": shift,
        "regap": opening(ReGap(shift.at(1.0), refusal, (2, 3), shut, 3.0)),
        "elsewhere": opening(ReGap(early, refusal, (1, 2, 3), shut, 4.0, "fitted", weights, late)),
        "before": opening(ReGap(late, refusal, (3,), shut, 3.0, "z_before", None, shift.at(1.0))),
        "single": opening(ReGap(early.at(1.5), refusal, (1, 2), shut, 4.0, "z_after", None, late, "single")),
        "single, rho": opening(ReGap(early.at(1.5), refusal, (1, 2), shut, 4.0, "rho", None, late, "single")),
        "single, no probe": opening(
            ReGap(early.at(0.0), refusal, (1, 2), shut, 4.0, "growth", None, edited_twice, "single")
        ),
    }


@pytest.fixture(scope="session")
def regap(edits: dict[str, Shift | ReGap]) -> ReGap:
    """Opens for some of the prompts, by as much as each asks for."""
    found = edits["regap"]
    assert isinstance(found, ReGap)
    return found


@pytest.fixture(scope="session")
def strengths(tiny: Model, pictured: Batch, edits: dict[str, Shift | ReGap]) -> dict[str, list[float]]:
    """Of every prompt, by the bridge."""
    found = {"fixed": [3.0] * len(pictured)}
    for name, edit in edits.items():
        if isinstance(edit, ReGap):
            found[name] = edit.strengths(tiny, pictured).tolist()
            assert min(found[name]) == 0.0 and len(set(found[name])) > 2  # shut, open, and in between
    return found


@pytest.fixture(scope="session")
def taken_off(
    edits: dict[str, Shift | ReGap], strengths: dict[str, list[float]]
) -> dict[str, list[list[Shift]]]:
    """Of every prompt, the shifts that it is answered under."""
    found = {}
    for name, edit in edits.items():
        removed = edit.removed if isinstance(edit, ReGap) else edit
        stays = [edit.probe] if isinstance(edit, ReGap) and edit.passes == "single" else []
        assert isinstance(removed, Shift)
        found[name] = [[*stays, removed.at(strength)] for strength in strengths[name]]
    return found


@pytest.fixture(scope="session")
def packs(
    plain: Any, refusal: Direction, edits: dict[str, Shift | ReGap], source: PackSource
) -> dict[str, Pack]:
    identity = identity_of(plain)
    return {name: Pack.of("tiny", identity, edit, source) for name, edit in edits.items()}


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
