"""A plain model is edited at one token of an image as under the bridge; what takes a processor is refused at once."""

from typing import Any

import pytest
import torch

import regap as rg
from regap.errors import ModelError, PackError
from regap.geometry.drift import Drift
from regap.geometry.forward.hooks import hooked
from regap.geometry.models.identity import identity_of
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift, fixed_correction
from regap.interventions.edits.site import Site
from regap.interventions.packs.pack import Pack, PackSource
from regap.interventions.packs.protection import protected
from regap.interventions.plain_models.attached import KEPT_AS
from regap.interventions.plain_models.calls import can_be_found

GREEDY: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False}
UNKNOWN = (
    "request",
    "user",
    "template",
    "after_instruction",
    "request[0]",
    "all[0]",
    "image:blank",
    "image:ink",
)


@pytest.mark.parametrize("positions", ["image[0]", "image[4]", "image[-2]"])
def test_one_token_of_an_image_is_edited_as_under_the_bridge(
    positions: str, tiny: Model, model: Any, pictured: Batch, source: PackSource
) -> None:
    vector = torch.linspace(-1, 1, tiny.width)[None]
    edit = Shift(Site((0,), positions), vector, 40.0, "planted")
    with hooked(tiny, edit.hooks(tiny, pictured)), torch.inference_mode():
        expected = tiny.hf.generate(**pictured.inputs, **GREEDY)
        logits = tiny.hf(**pictured.inputs).logits
    bare = model(**pictured.inputs).logits
    assert not torch.equal(logits, bare)
    with edit.on(model):
        assert torch.equal(model.generate(**pictured.inputs, **GREEDY), expected)
        assert torch.equal(model(**pictured.inputs).logits, logits)
        whole = {"use_cache": False, "num_beams": 2}
        assert model.generate(**pictured.inputs, **GREEDY, **whole).shape[0] == len(pictured)
    with protected(model, Pack.of("tiny", identity_of(model), edit, source)):
        assert torch.equal(model.generate(**pictured.inputs, **GREEDY), expected)
    assert torch.equal(model(**pictured.inputs).logits, bare)


def test_a_prompt_without_that_token_is_named(model: Any, words: Batch) -> None:
    edit = Shift(Site((0,), "image[0]"), torch.ones(1, 32), 1.0, "planted")
    with (
        edit.on(model),
        pytest.raises(ModelError, match=r"prompt 0 has no token image\[0\]: it has 0 tokens"),
    ):
        model.generate(**words.inputs, **GREEDY)


@pytest.mark.parametrize("positions", UNKNOWN)
def test_positions_that_take_a_processor_are_refused_before_the_model_is_used(
    positions: str, model: Any, drift: Drift, refusal: Any, source: PackSource
) -> None:
    late = fixed_correction(drift, Site((1,), positions), 1.0)
    gated = ReGap(
        fixed_correction(drift, Site((0,)), 1.0), refusal, (2,), Gate("hard", 0.0), 1.0, correction=late
    )
    calls: list[None] = []
    handle = model.register_forward_pre_hook(lambda *_: calls.append(None))
    for edit in (late, gated, rg.edit(torch.zeros_like, layers=[1], positions=positions)):
        with (
            pytest.raises(
                ModelError, match="cannot be found without a processor; use last, all, image"
            ) as told,
            edit.on(model),
        ):
            pass
        assert repr(positions) in str(told.value) and "\n" not in str(told.value)
    with (
        pytest.raises(
            PackError, match="cannot be found without a processor; make a pack that edits last, all"
        ),
        protected(model, Pack.of("tiny", identity_of(model), late, source)),
    ):
        pass
    handle.remove()
    assert KEPT_AS not in vars(model) and not can_be_found(positions)


@pytest.mark.parametrize("positions", ["last", "all", "image", "audio", "image[3]", "audio[-1]"])
def test_others_can_be_found(positions: str) -> None:
    assert can_be_found(positions)
