"""Features in place of pixels give every family's own numbers, pictures repeated or not."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from regap.geometry.forward.image_features import shelf_of
from regap.geometry.forward.pending_states import read
from regap.geometry.forward.prefix import prefill, run, run_last_token
from regap.geometry.models.bridge import bridge
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch

LAYERS = (0, 1, 2, 3)
IMAGE = 60
TEXT: dict[str, Any] = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4}
TEXT |= {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 128}
TEXT |= {"head_dim": 16, "pad_token_id": 0}
TOWER: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "patch_size": 14}
ROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
QWEN: dict[str, Any] = {"image_token_id": IMAGE, "vision_start_token_id": 61, "vision_end_token_id": 62}
QWEN |= {"video_token_id": 59, "text_config": {**TEXT, "rope_parameters": ROPE}}
DEPTH: dict[str, Any] = {**TOWER, "depth": 2, "num_heads": 2, "out_hidden_size": 32}


def qwen2() -> Any:
    vision = {**DEPTH, "window_size": 56, "fullatt_block_indexes": [1]}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(vision_config=vision, **QWEN))


def qwen3() -> Any:
    vision = {**DEPTH, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(vision_config=vision, **QWEN))


def gemma() -> Any:
    vision = {**TOWER, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28}
    special: dict[str, Any] = {"image_token_id": IMAGE, "boi_token_index": 61, "eoi_token_index": 62}
    config = Gemma3Config(text_config=TEXT, vision_config=vision, mm_tokens_per_image=4, **special)
    return Gemma3ForConditionalGeneration(config)


def idefics() -> Any:
    vision = {**TOWER, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 7}
    text = {**TEXT, "model_type": "llama"}
    config = Idefics3Config(text_config=text, vision_config=vision, image_token_id=IMAGE, scale_factor=2)
    return Idefics3ForConditionalGeneration(config)


FAMILIES: dict[str, Callable[[], Any]] = {"qwen2": qwen2, "qwen3": qwen3, "gemma": gemma, "idefics": idefics}


@pytest.fixture(scope="module", params=list(FAMILIES))
def model(request: pytest.FixtureRequest) -> Model:
    hf = FAMILIES[request.param]()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.08)
    return Model(bridge(hf.eval()), SimpleNamespace(chat_template="by hand"), request.param, request.param)


def batch(model: Model, pictures: tuple[str, ...]) -> Batch:
    """Three prompts of unequal length around one picture each; equal names, equal pixels."""
    patches = 6 if model.name.startswith("qwen") else 4
    rows = [[0, 0, 1, 5], [0, 1, 8, 5], [1, 8, 9, 5]]
    ids = torch.tensor([[*row, 61, *[IMAGE] * patches, 62, 6, 7 + i] for i, row in enumerate(rows)])
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    pixels = torch.stack([_pixels(model, picture) for picture in pictures])
    if model.name.startswith("qwen"):
        inputs["mm_token_type_ids"] = (ids == IMAGE).long()
        inputs |= {"pixel_values": pixels.flatten(0, 1), "image_grid_thw": torch.tensor([[1, 4, 6]] * 3)}
    elif model.name == "gemma":
        inputs |= {"token_type_ids": (ids == IMAGE).long(), "pixel_values": pixels}
    else:
        inputs |= {"pixel_values": pixels[:, None], "pixel_attention_mask": torch.ones(3, 1, 28, 28).long()}
    return Batch(inputs, (0, 1, 2), IMAGE, pictures=pictures)


def _pixels(model: Model, picture: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(ord(picture))
    shape = (24, 3 * 2 * 14 * 14) if model.name.startswith("qwen") else (3, 28, 28)
    return torch.randn(shape, generator=generator)


@pytest.mark.parametrize("pictures", ["abc", "aaa", "aba"])
def test_features_in_place_of_pixels_change_nothing(model: Model, pictures: str) -> None:
    seen = batch(model, tuple(pictures))
    plain = replace(seen, pictures=(), kept={})
    expected = run(model, plain, LAYERS)
    found = run(model, seen, LAYERS)
    assert torch.allclose(found.states, expected.states, atol=1e-5)
    assert torch.allclose(found.logits, expected.logits, atol=1e-5)
    assert torch.allclose(read(model, seen, LAYERS), expected.states, atol=1e-5)
    one_token = run_last_token(model, prefill(model, seen), LAYERS)
    assert torch.allclose(one_token.states, expected.states, atol=1e-5)
    assert torch.allclose(one_token.logits, expected.logits, atol=1e-5)


def test_other_pictures_are_other_numbers_and_each_set_is_seen_once(model: Model) -> None:
    one, other = batch(model, ("d", "e", "f")), batch(model, ("d", "e", "g"))
    before = shelf_of(model).computed
    states = [read(model, each, LAYERS) for each in (one, other, one)]
    assert shelf_of(model).computed == before + 2
    assert torch.equal(states[0], states[2]) and torch.allclose(states[0][:2], states[1][:2], atol=1e-5)
    assert float((states[0][2] - states[1][2]).abs().max()) > 1e-3
