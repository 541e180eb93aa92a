"""What is known to go wrong between TransformerLens, transformers and a user, family by family: here it does not."""

import warnings
from typing import Any

import pytest
import torch
from parity import PROMPTS, RED, Subject, subject
from tiny_models import FAMILIES
from tiny_parts import LAYERS, WIDTH
from transformers.utils import logging

from regap.errors import ModelError
from regap.geometry.data.pairs import Prompt
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.forward.prefix import run
from regap.geometry.prompts.batch import collate
from regap.geometry.prompts.chat import render
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE_INPUTS = {
    "gemma3": "token_type_ids",
    "glm4v": "mm_token_type_ids",
    "idefics3": "pixel_attention_mask",
    "llava_next": "image_sizes",
    "mistral3": "image_sizes",
    "mllama": "cross_attention_mask",
    "paligemma": "token_type_ids",
    "qwen2_5_vl": "mm_token_type_ids",
    "qwen2_vl": "image_grid_thw",
    "qwen3_vl": "mm_token_type_ids",
    "smolvlm": "pixel_attention_mask",
}
"""What a pass runs without, and wrongly, where it is forgotten."""


@pytest.fixture(scope="module")
def each(request: pytest.FixtureRequest) -> Subject:
    return subject(request.param, "float32")


every_family = pytest.mark.parametrize("each", list(FAMILIES), indirect=True)


@every_family
def test_everything_that_the_processor_returns_is_passed_on_and_begins_once(each: Subject) -> None:
    for kind in each.kinds:
        check_passed_on(each, kind)


def check_passed_on(each: Subject, kind: str) -> None:
    texts = [render(each.model, prompt) for prompt in PROMPTS[kind]]
    images = [[picture.open() for picture in prompt.pictures] for prompt in PROMPTS[kind]]
    rate = each.model.sampling_rate if kind == "sounds" else None
    sounds = [sound.samples(rate) for prompt in PROMPTS[kind] for sound in prompt.sounds] if rate else []
    seen: dict[str, Any] = {"images": images} if any(images) else {}
    seen |= {"audio": sounds, "sampling_rate": rate} if sounds else {}
    returned = each.model.processor(text=texts, **seen, padding=True, return_tensors="pt")
    batch = each.batch(kind)
    positions = (
        {"position_ids"} if each.model.takes_positions else set()
    )  # added: padding would count without
    assert set(batch.inputs) == set(returned) - {"labels"} | positions
    assert SIDE_INPUTS.get(each.family, "input_ids") in batch.inputs or kind != "images"
    beginnings = (batch.inputs["input_ids"] == each.model.tokenizer.bos_token_id).sum(1).tolist()
    assert beginnings in ([0] * len(batch), [1] * len(batch))


@every_family
def test_no_hook_stands_where_an_edit_would_be_half_an_edit(each: Subject) -> None:
    names = each.model.bridge.hook_dict
    standing = {name.rpartition(".")[2] for name in names if name.startswith("blocks.")}
    boundaries = {"hook_in", "hook_out", "hook_resid_pre", "hook_resid_post"}
    assert (
        {"hook_in", "hook_out"} <= standing <= boundaries | {"hook_mlp_in"}
    )  # the last is TransformerLens' own
    middle = Hook("blocks.0.hook_resid_mid", lambda residual: residual * 0)
    with (
        pytest.raises(ModelError, match=r"hook 'blocks.0.hook_resid_mid' is not in model"),
        hooked(each.model, [middle]),
    ):
        raise AssertionError("entered")
    with pytest.raises(Exception, match="compatibility"):
        each.model.bridge.enable_compatibility_mode()


@every_family
def test_a_layer_is_read_after_its_edit_and_keeps_no_graph(each: Subject) -> None:
    batch = each.batch(each.kinds[-1])
    vector = torch.linspace(-1, 1, WIDTH, dtype=torch.float64)
    for layer in range(LAYERS):
        plain = run(each.model, batch, (layer,))
        edited = run(each.model, batch, (layer,), [Shift(Site((layer,)), vector[None], 2.0, "planted")])
        assert torch.allclose(edited.states, plain.states - 2 * vector.float(), atol=1e-5)
        assert (
            not plain.logits.requires_grad
            and plain.states.untyped_storage().nbytes() == 4 * plain.states.numel()
        )
    assert not each.model.hf.training


@every_family
def test_what_is_passed_in_is_what_is_used(each: Subject) -> None:
    made = FAMILIES[each.family]()
    assert (
        each.model.tokenizer.get_vocab() == getattr(made.processor, "tokenizer", made.processor).get_vocab()
    )
    assert each.model.tokenizer.padding_side == "left"
    assert each.model.hf.config._attn_implementation == each.bare.config._attn_implementation


def test_wrapping_changes_no_setting_of_others() -> None:
    verbosity, filters = logging.get_verbosity(), list(warnings.filters)
    subject("llava", "float32")
    assert (logging.get_verbosity(), list(warnings.filters)) == (verbosity, filters)


def test_a_side_input_that_is_left_out_would_be_seen(each_gemma: Subject) -> None:
    """The control: without its side input the same pass gives other numbers."""
    batch = each_gemma.batch("images")
    fewer: Any = {name: value for name, value in batch.inputs.items() if name != "token_type_ids"}
    with torch.inference_mode():
        change = each_gemma.bare(**batch.inputs).logits[:, -1] - each_gemma.bare(**fewer).logits[:, -1]
    assert float(change.abs().max()) > 1e-2


@pytest.fixture(scope="module")
def each_gemma() -> Subject:
    return subject("gemma3", "float32")


def test_a_processor_that_takes_no_words_alone_is_said_to() -> None:
    of = subject("paligemma", "float32")
    with pytest.raises(
        ModelError, match=r"its processor refuses the prompts .*use other arms or another model"
    ):
        of.batch("words")
    with pytest.raises(ModelError, match="changes prompts without an image or sound if others have one"):
        of.batch("mixed")


@pytest.mark.parametrize("family", ["mistral3", "paligemma", "llava_next"])
def test_a_template_that_refuses_a_system_message_is_told_of(family: str) -> None:
    of = subject(family, "float32")
    with pytest.raises(ModelError, match=r"refuses the prompt \(System role not supported\); ask without"):
        collate(of.model, [Prompt("<image>hi", (RED,), system="be brief")], [0])


@pytest.mark.parametrize("family", ["qwen2_5_vl", "gemma3", "glm4v", "mllama"])
def test_a_system_message_has_tokens_of_its_own(family: str) -> None:
    of = subject(family, "float32")
    batch = collate(of.model, [Prompt("<image>hi", (RED,), system="be brief")], [0])
    named = batch.request | batch.image | batch.template
    said = of.model.tokenizer.decode(batch.inputs["input_ids"][0][~named[0]])
    assert said == "be brief"
