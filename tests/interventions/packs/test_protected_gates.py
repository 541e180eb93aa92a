"""What a gated pack runs and reads: a single pass wherever it acts, no pass more than it takes, finite states."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.directions import Direction
from regap.geometry.forward.hooks import Edit, hooked
from regap.geometry.models.identity import identity_of
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.packs.pack import Pack, PackSource
from regap.interventions.packs.protection import protected

BUDGET = 6
KINDS = ["fixed", "regap", "elsewhere", "before", "single", "single, rho", "single, no probe"]
GREEDY: dict[str, Any] = {"max_new_tokens": BUDGET, "do_sample": False}


@pytest.mark.parametrize("kind", ["single", "single, rho"])
@pytest.mark.parametrize("phase", ["prefill", "every_step"])
@pytest.mark.parametrize("positions", ["last", "all", "image"])
def test_a_single_pass_elsewhere_is_that_of_the_bridge(
    kind: str,
    positions: Any,
    phase: Any,
    model: Any,
    tiny: Model,
    edits: dict[str, Edit],
    refusal: Direction,
    pictured: Batch,
    source: PackSource,
) -> None:
    edit = edits[kind]
    assert isinstance(edit, ReGap) and edit.correction is not None
    edit = replace(edit, probe=placed(edit.probe, positions, phase))
    late = "last" if positions == "image" else positions
    edit = replace(edit, correction=placed(edit.removed, late, phase), gate=Gate("sigmoid", 0.0))
    pack = Pack.of("tiny", identity_of(model), edit, source)
    with hooked(tiny, edit.hooks(tiny, pictured)):
        expected = tiny.hf.generate(**pictured.inputs, **GREEDY)
    bare = model.generate(**pictured.inputs, **GREEDY)
    with protected(model, pack):
        assert torch.equal(model.generate(**pictured.inputs, **GREEDY), expected)
        assert torch.equal(model.generate(**pictured.inputs, **GREEDY, use_cache=False), expected)
        if positions != "last":
            with pytest.raises(ModelError, match="the gate reads whole prompts, and this one comes in parts"):
                model.generate(**pictured.inputs, **GREEDY, prefill_chunk_size=4)
    assert not torch.equal(expected, bare)


def placed(shift: Shift, positions: Any, phase: Any) -> Shift:
    return replace(shift, site=Site(shift.site.layers, positions, phase))


FURTHER = {
    "fixed": 0,
    "regap": 2,
    "elsewhere": 2,
    "before": 1,
    "single": 0,
    "single, rho": 1,
    "single, no probe": 0,
}


@pytest.mark.parametrize(("kind", "further"), FURTHER.items())
def test_a_single_pass_is_no_pass_more(
    kind: str, further: int, model: Any, packs: dict[str, Pack], pictured: Batch
) -> None:
    """Calls of the first block beside those of a bare answer: one for each reading of the last token."""
    calls = []
    with protected(model, packs[kind]):
        handle = model.model.language_model.layers[0].register_forward_hook(lambda *_: calls.append(1))
        try:
            model.generate(**pictured.inputs, max_new_tokens=BUDGET, min_new_tokens=BUDGET, do_sample=False)
        finally:
            handle.remove()
    assert len(calls) == BUDGET + further


@pytest.mark.parametrize("kind", KINDS[1:])
def test_states_that_are_not_finite_decide_nothing(
    kind: str, model: Any, packs: dict[str, Pack], pictured: Batch
) -> None:
    def broken(module: Any, inputs: Any, output: Any) -> Any:
        return torch.full_like(output, torch.nan) if isinstance(output, Tensor) else output

    with (
        protected(model, packs[kind]),
        pytest.raises(ModelError, match=r"are not finite|hold NaN or infinity"),
    ):
        handle = model.model.language_model.layers[0].register_forward_hook(broken)
        try:
            model.generate(**pictured.inputs, **GREEDY)
        finally:
            handle.remove()
