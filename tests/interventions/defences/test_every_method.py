"""What is true of all methods: strength 0 changes nothing, strength 1 something, and only where the site says."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import cast

import pytest
import torch
from torch import Tensor

from regap.errors import PairError
from regap.geometry.data.pairs import Pairs
from regap.geometry.drift import modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.forward.hooks import Edit, Hook
from regap.geometry.forward.prefix import prefill, run, run_last_token, whole_prompts
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.defences.catalogue import METHODS
from regap.interventions.defences.shiftdc import shiftdc
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.generation import generate
from regap.interventions.sweep import sweep

EDITING = [name for name, entry in METHODS.items() if not (entry.rewriting or entry.recipe)]
RUN = [name for name in EDITING if "caption" not in METHODS[name].looks_at and name != "none"]
AT_TOKENS = [name for name in RUN if METHODS[name].where in ("image", "window")]
"""Methods that act at image tokens only."""
GATED = ("regap", "adasteer", "cast", "mars", "vlm_guard", "astra", "hiddendetect", "adasteer_both", "dtr")
"""Methods that may leave an input as it is."""


@pytest.mark.parametrize("name", RUN)
def test_strength_zero_changes_nothing_and_one_moves_no_layer_before_the_site(
    name: str, calibration: DefenceData, tiny: Model, batch: Batch
) -> None:
    dose = METHODS[name].method(calibration, Site((1,)))
    layers = range(tiny.layers)
    bare, none, whole = (run(tiny, batch, layers, edits) for edits in ([], dose(0.0), dose(1.0)))
    assert torch.allclose(none.states, bare.states, atol=1e-6)
    assert torch.equal(whole.states[:, 0], bare.states[:, 0])
    moved = (whole.states[:, 1] - bare.states[:, 1]).norm(dim=-1)
    assert bool((moved > 1e-4).any()) or name in GATED


@pytest.mark.parametrize("name", [name for name in RUN if name not in AT_TOKENS])
def test_one_token_passes_equal_full_ones(
    name: str, calibration: DefenceData, tiny: Model, batch: Batch
) -> None:
    edits = METHODS[name].method(calibration, Site((2,)))(1.0)
    full = run(tiny, batch, range(tiny.layers), edits)
    hooks = [hook for edit in edits for hook in edit.hooks(tiny, batch)]
    short = run_last_token(tiny, prefill(tiny, batch), range(tiny.layers), hooks)
    assert all(edit.only_last for edit in edits)
    assert torch.allclose(full.states, short.states, atol=1e-4)


@pytest.mark.parametrize("name", AT_TOKENS)
def test_methods_at_image_tokens_take_full_passes_and_answer_as_these_tell(
    name: str, calibration: DefenceData, tiny: Model, batch: Batch, asked: Pairs
) -> None:
    edits = METHODS[name].method(calibration, Site((2,)))(0.5)
    assert not any(edit.only_last for edit in edits)
    told = run(tiny, batch, [0], edits).logits.argmax(-1).tolist()
    answers = generate(tiny, asked.first(2), "typographic", edits, max_new_tokens=3)
    assert [one.first_token for one in answers] == told
    found = sweep(tiny, asked.first(2), "typographic", [edits, []], calibration.refusal, [3])
    assert found.first_tokens[0].tolist() == told


@pytest.mark.parametrize("name", [name for name in RUN if METHODS[name].at_image])
def test_vectors_at_image_tokens_are_of_states_there(
    name: str, calibration: DefenceData, tiny: Model, batch: Batch
) -> None:
    entry, site = METHODS[name], Site((1,), "image")
    edits = entry.method(calibration, site)(1.0)
    moved, bare = (every_state(tiny, batch, 1, each) for each in (edits, []))
    off = (moved - bare).abs().amax(-1) > 1e-5
    assert not bool((off & ~batch.image).any())
    assert bool(off.any()) or name in GATED
    elsewhere = entry.method(calibration, Site((1,)))(1.0)
    assert [edit.identity for edit in edits] != [edit.identity for edit in elsewhere]


def test_at_image_tokens_the_drift_is_that_between_roles(calibration: DefenceData, tiny: Model) -> None:
    there = calibration.at(Site((1,), "image"))
    pairs = calibration.pairs.calibration
    text = capture(tiny, pairs, "text", position="request")["text"]
    image = capture(tiny, pairs, "typographic", position="image")["typographic"]
    [edit] = METHODS["fixed"].method(calibration, Site((1,), "image"))(1.0)
    expected = modality_drift(text, image).at(1)
    assert torch.allclose(cast(Shift, edit).vectors[0].double(), expected.double(), atol=1e-5)
    elsewhere = calibration.drifts["typographic"].at(1)
    assert not torch.allclose(expected.double(), elsewhere.double(), atol=1e-2)
    assert calibration.at(Site((2,), "image")) is there and calibration.at(Site((2,))) is calibration


def every_state(model: Model, batch: Batch, layer: int, edits: Sequence[Edit]) -> Tensor:
    """States of all tokens after a block, under the edits."""
    found: list[Tensor] = []
    hooks = [hook for edit in edits for hook in edit.hooks(model, batch)]
    read = Hook(model.hook_name(layer), lambda residual: found.append(residual.clone()))
    with torch.inference_mode():
        whole_prompts(model, batch).run(model, hooks, [read])
    return found[0]


@pytest.mark.parametrize("name", RUN)
def test_a_batch_equals_its_members_one_by_one(
    name: str, calibration: DefenceData, tiny: Model, asked: Pairs
) -> None:
    edits = METHODS[name].method(calibration, Site((2,)))(2.0)
    together = generate(tiny, asked.first(3), "typographic", edits, max_new_tokens=3)
    apart = generate(Runner(tiny, Limits(answers=1)), asked.first(3), "typographic", edits, max_new_tokens=3)
    assert together == apart


def test_identities_tell_methods_sites_and_strengths_apart(calibration: DefenceData) -> None:
    cells = list(product(RUN, (1, 2), (0.5, 1.0)))
    found = [METHODS[name].method(calibration, Site((layer,)))(strength) for name, layer, strength in cells]
    again = [METHODS[name].method(calibration, Site((layer,)))(strength) for name, layer, strength in cells]
    identities = [tuple(edit.identity for edit in edits) for edits in found]
    assert len(set(identities)) == len(cells)
    assert identities == [tuple(edit.identity for edit in edits) for edits in again]


def test_no_defence_is_no_edit(calibration: DefenceData) -> None:
    assert METHODS["none"].method(calibration, Site((1,)))(1.0) == []


def test_what_a_method_needs_is_said(calibration: DefenceData, tiny: Model, batch: Batch) -> None:
    assert METHODS["shiftdc"].missing(["text", "blank"]) == ("caption",)
    assert METHODS["mars"].missing(["text", "caption"]) == ("neutral",)
    assert METHODS["mars"].missing(["text", "noise"]) == ()
    with pytest.raises(PairError, match="an input has no arm caption; make it for every pair"):
        run(tiny, batch, [1], shiftdc(calibration, Site((1,)))(1.0))


def test_test_states_are_refused(calibration: DefenceData, states) -> None:
    with pytest.raises(ValueError, match="states of arm text hold test pairs"):
        replace(calibration, states=states)


def test_a_prompt_that_is_none_of_the_pairs_is_refused(
    calibration: DefenceData, tiny: Model, batch: Batch
) -> None:
    few = replace(calibration, pairs=calibration.pairs.calibration)
    with pytest.raises(PairError, match="not among the typographic prompts that the method was given"):
        run(tiny, batch, [1], METHODS["shiftdc_text"].method(few, Site((1,)))(1.0))
