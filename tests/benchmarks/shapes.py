"""The models that are timed: random weights in the shapes of LLaVA and Qwen3-VL, and batches of long prompts."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from regap.geometry.models.bridge import bridge
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch

IMAGE = 31_990
SPECIAL: dict[str, Any] = {
    "vision_start_token_id": 31_991,
    "vision_end_token_id": 31_992,
    "video_token_id": 31_993,
}


@dataclass(frozen=True)
class Shape:
    """A model to build and the prompts it is given."""

    family: str
    """llava or qwen3_vl."""
    layers: int
    width: int
    heads: int
    tokens: int = 512
    prompts: int = 4
    vocabulary: int = 32_000
    tower: Mapping[str, int] = field(
        default_factory=lambda: {"layers": 4, "width": 128, "size": 192, "patch": 12}
    )


FULL = {
    "llava-8x256": Shape("llava", 8, 256, 8),
    "qwen3_vl-8x256": Shape("qwen3_vl", 8, 256, 8),
    "llava-12x768": Shape("llava", 12, 768, 12, prompts=2),
}
SMALL_TOWER = {"layers": 1, "width": 32, "size": 48, "patch": 12}
SMALL = {
    name: Shape(shape.family, 2, 64, 4, 48, 2, tower=SMALL_TOWER) for name, shape in list(FULL.items())[:2]
}
"""The same code in a moment, for runs that are not timed."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The same weights under each contestant, and one batch."""

    bare: Any
    """A plain Hugging Face model, sdpa, no hooks."""
    model: Model
    batch: Batch
    """Without the names of its pictures: each pass sees them anew, as the bare model does."""


def build(shape: Shape) -> Any:
    """Return a model of this shape with random weights, ready to be run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {"llava": _llava, "qwen3_vl": _qwen}[shape.family](shape).eval()


def subject(shape: Shape) -> Subject:
    """Return a model of this shape bare and under hooks, with its batch."""
    return subject_of(shape, build(shape))


def subject_of(shape: Shape, bare: Any) -> Subject:
    """Return the model bare and under hooks, with its batch on its device."""
    processor = SimpleNamespace(chat_template="by hand")
    hooked = Model(bridge(with_same_weights(bare)), processor, "timed", "timed")
    return Subject(bare, hooked, batch(shape, bare))


def with_same_weights(model: Any) -> Any:
    """Return a copy of the model's modules over the same weights, so that large models are held once."""
    weights = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(weight): weight for weight in weights})


def batch(shape: Shape, model: Any) -> Batch:
    """Return prompts of up to `tokens` tokens around one image each, all but the first padded a little."""
    patches = (shape.tower["size"] // shape.tower["patch"]) ** 2
    image = [IMAGE] * (patches if shape.family == "llava" else patches // 4)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 30_000, (shape.prompts, shape.tokens), generator=generator)
    ids[:, 16 : 16 + len(image)] = torch.tensor(image)
    for row in range(shape.prompts):
        ids[row, : 4 * (row % 4)] = 0
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long(), **_pixels(shape, ids, patches)}
    placed = {name: value.to(model.device) for name, value in inputs.items()}
    return Batch(placed, tuple(range(shape.prompts)), IMAGE)


def _pixels(shape: Shape, ids: Tensor, patches: int) -> dict[str, Tensor]:
    generator, tower = torch.Generator().manual_seed(1), shape.tower
    if shape.family == "llava":
        return {
            "pixel_values": torch.randn(shape.prompts, 3, tower["size"], tower["size"], generator=generator)
        }
    side = tower["size"] // tower["patch"]
    pixels = torch.randn(shape.prompts * patches, 3 * 2 * tower["patch"] ** 2, generator=generator)
    grid = torch.tensor([[1, side, side]] * shape.prompts)
    return {"pixel_values": pixels, "image_grid_thw": grid, "mm_token_type_ids": (ids == IMAGE).long()}


def _text(shape: Shape) -> dict[str, Any]:
    return {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.width * 43 // 16,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.width // shape.heads,
        "max_position_embeddings": 4096,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
    }


def _llava(shape: Shape) -> Any:
    tower = shape.tower
    vision = CLIPVisionConfig(
        hidden_size=tower["width"],
        intermediate_size=4 * tower["width"],
        projection_dim=tower["width"],
        num_hidden_layers=tower["layers"],
        num_attention_heads=max(1, tower["width"] // 64),
        image_size=tower["size"],
        patch_size=tower["patch"],
    )
    config = LlavaConfig(
        text_config=LlamaConfig(**_text(shape)), vision_config=vision, image_token_index=IMAGE
    )
    return LlavaForConditionalGeneration(config)


def _qwen(shape: Shape) -> Any:
    tower, head = shape.tower, shape.width // shape.heads
    vision = {
        "hidden_size": tower["width"],
        "intermediate_size": 4 * tower["width"],
        "depth": tower["layers"],
        "num_heads": max(1, tower["width"] // 64),
        "patch_size": tower["patch"],
        "out_hidden_size": shape.width,
        "deepstack_visual_indexes": [0],
        "num_position_embeddings": (tower["size"] // tower["patch"]) ** 2,
    }
    sections = [head // 2 - 2 * (head // 8), head // 8, head // 8]
    rope = {"rope_type": "default", "mrope_section": sections, "rope_theta": 10_000.0}
    config = Qwen3VLConfig(
        text_config={**_text(shape), "rope_parameters": rope},
        vision_config=vision,
        image_token_id=IMAGE,
        tie_word_embeddings=False,
        **SPECIAL,
    )
    return Qwen3VLForConditionalGeneration(config)


Capture = Callable[[], Any]


def bare_forward(subject: Subject) -> Capture:
    """Return a pass of the bare model without its head: what nothing can be much faster than."""

    @torch.inference_mode()
    def forward() -> Any:
        return subject.bare.model(**subject.batch.inputs, use_cache=False)

    return forward
