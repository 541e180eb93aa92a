"""One-token passes equal full passes on models that place tokens, or keep them, otherwise than LLaVA does."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from regap.geometry.forward.prefix import borrowed, prefill, run, run_last_token
from regap.geometry.models.bridge import bridge
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site

LAYERS = (0, 1, 2, 3)
IMAGE, BEGIN_IMAGE, END_IMAGE = 60, 61, 62
SIZES: dict[str, Any] = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4}
SIZES |= {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 128}
TOWER: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "patch_size": 14}
SHIFT = Shift(Site((1,)), torch.linspace(-1, 1, 32, dtype=torch.float64)[None], 2.0, "planted")


def wrapped(model: Any) -> Model:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.08)
    return Model(bridge(model.eval()), SimpleNamespace(chat_template="by hand"), "made", "made")


def qwen() -> Model:
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
    vision = {
        **TOWER,
        "depth": 2,
        "num_heads": 2,
        "out_hidden_size": 32,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    special: dict[str, Any] = {
        "image_token_id": IMAGE,
        "vision_start_token_id": BEGIN_IMAGE,
        "vision_end_token_id": END_IMAGE,
    }
    text = {**SIZES, "rope_parameters": rope}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, video_token_id=59, **special)
    return wrapped(Qwen2_5_VLForConditionalGeneration(config))


def gemma(window: int) -> Model:
    kinds = ["sliding_attention"] * 3 + ["full_attention"]
    text = {**SIZES, "head_dim": 16, "sliding_window": window, "layer_types": kinds}
    vision = {**TOWER, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28}
    special: dict[str, Any] = {
        "image_token_id": IMAGE,
        "boi_token_index": BEGIN_IMAGE,
        "eoi_token_index": END_IMAGE,
    }
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, **special)
    return wrapped(Gemma3ForConditionalGeneration(config))


def batch(model: Model, patches: int, ends: Sequence[int], width: int = 6) -> Batch:
    """Two prompts of unequal length around an image, or of words alone where there are no patches."""
    image = [BEGIN_IMAGE, *[IMAGE] * patches, END_IMAGE] if patches else [7, 8, 9]
    ids = torch.tensor([[0, 0, 1, *image, 5, 6, ends[0]], [1, 8, 9, *image, 5, 6, ends[1]]])
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    generator = torch.Generator().manual_seed(patches)
    if isinstance(model.hf, Gemma3ForConditionalGeneration):
        inputs["token_type_ids"] = (ids == IMAGE).long()
        inputs |= {"pixel_values": torch.randn(2, 3, 28, 28, generator=generator)} if patches else {}
    else:
        inputs["mm_token_type_ids"] = (ids == IMAGE).long()
        grid = torch.tensor([[1, 4, width]] * 2)
        pixels = torch.randn(8 * width, 3 * 2 * 14 * 14, generator=generator)
        inputs |= {"pixel_values": pixels, "image_grid_thw": grid} if patches else {}
    return Batch(inputs, (0, 1), IMAGE)


@pytest.fixture(scope="module", params=["qwen", "gemma", "gemma beyond its window"])
def model(request: pytest.FixtureRequest) -> Model:
    return qwen() if request.param == "qwen" else gemma(64 if request.param == "gemma" else 6)


@pytest.fixture
def several(model: Model) -> list[Batch]:
    if isinstance(model.hf, Gemma3ForConditionalGeneration):
        return [batch(model, 4, (7, 8)), batch(model, 0, (7, 8)), batch(model, 4, (10, 11))]
    return [batch(model, 6, (7, 8)), batch(model, 0, (7, 8)), batch(model, 8, (7, 8), width=8)]


def test_one_token_passes_equal_full_passes_batch_by_batch_in_any_order(
    model: Model, several: list[Batch]
) -> None:
    expected = [[run(model, each, LAYERS, edits) for edits in ([], [SHIFT])] for each in several]
    for each in several:
        prefill(model, each)
    for place in (0, 2, 1, 0):
        for hooks, full in zip(([], SHIFT.hooks(model, several[place])), expected[place], strict=True):
            seen = run_last_token(model, prefill(model, several[place]), LAYERS, hooks)
            assert torch.allclose(seen.states, full.states, atol=1e-5)
            assert torch.allclose(seen.logits, full.logits, atol=1e-5)
    assert float((expected[0][0].logits - expected[0][1].logits).abs().max()) > 1e-3


def test_answers_that_go_on_from_the_prompt_equal_those_from_the_start(
    model: Model, several: list[Batch]
) -> None:
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "use_cache": True}
    with torch.inference_mode():
        expected = [model.hf.generate(**each.inputs, **options) for each in several]
        for each in several:
            prefill(model, each)
        for place in (0, 2, 1, 0):
            inputs, prefix = several[place].inputs, prefill(model, several[place])
            with borrowed(model, prefix):
                found = model.hf.generate(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    past_key_values=prefix.cache,
                    **options,
                )
            assert torch.equal(found, expected[place])
