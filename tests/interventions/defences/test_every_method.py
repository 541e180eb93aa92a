"""What is true of all methods: strength 0 changes nothing, strength 1 something, and only where the site says."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from regap.errors import PairError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.prefix import prefill, run, run_last_token
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.defences.catalogue import METHODS
from regap.interventions.defences.shiftdc import shiftdc
from regap.interventions.edits.site import Site
from regap.interventions.generation import generate

EDITING = [name for name, entry in METHODS.items() if not (entry.rewriting or entry.recipe)]
RUN = [name for name in EDITING if "caption" not in METHODS[name].looks_at and name != "none"]
GATED = ("regap", "adasteer", "cast", "mars", "vlm_guard", "astra", "hiddendetect", "adasteer_both")
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


@pytest.mark.parametrize("name", RUN)
def test_one_token_passes_equal_full_ones(
    name: str, calibration: DefenceData, tiny: Model, batch: Batch
) -> None:
    edits = METHODS[name].method(calibration, Site((2,)))(1.0)
    full = run(tiny, batch, range(tiny.layers), edits)
    hooks = [hook for edit in edits for hook in edit.hooks(tiny, batch)]
    short = run_last_token(tiny, prefill(tiny, batch), range(tiny.layers), hooks)
    assert all(edit.only_last for edit in edits)
    assert torch.allclose(full.states, short.states, atol=1e-4)


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
