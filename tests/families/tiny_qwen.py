"""Tiny models that count an image in height and width: Qwen-VL and GLM-V."""

from typing import Any

from tiny_parts import PATCH, WIDTH, Family, hf, text_config
from tiny_words import chat_template, tokenizer
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from regap.geometry.models.processors import without_video

QWEN_MARKS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
FOUND = {"image_token_id": "image_token", "video_token_id": "video_token"}
FOUND |= {"vision_start_token_id": "vision_start_token", "vision_end_token_id": "vision_end_token"}


def qwen(
    config: Any, text: Any, model: Any, processor: Any, vision: dict, patch: int = PATCH, **more: Any
) -> Family:
    """A model of the Qwen-VL layout; `more` is of its text configuration."""
    words: Any = tokenizer("chatml", named=QWEN_MARKS)
    pixels = {"shortest_edge": (2 * patch) ** 2, "longest_edge": 8 * (2 * patch) ** 2}
    images = Qwen2VLImageProcessorPil(patch_size=patch, size=pixels)
    made = without_video(processor)(images, words, chat_template=chat_template("chatml", QWEN_IMAGE))
    rope: dict[str, Any] = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
    filled = config(
        text_config=text_config(text, words, rope_parameters=rope, head_dim=16, **more).to_dict(),
        vision_config={"patch_size": patch, **vision},
        **{name: words.convert_tokens_to_ids(QWEN_MARKS[mark]) for name, mark in FOUND.items()},
    )
    return Family(model(filled), made)


def qwen2_vl() -> Family:
    vision: dict[str, Any] = {
        "depth": 2,
        "embed_dim": WIDTH,
        "hidden_size": WIDTH,
        "num_heads": 2,
        "mlp_ratio": 2,
    }
    return qwen(
        hf.Qwen2VLConfig,
        hf.Qwen2VLTextConfig,
        hf.Qwen2VLForConditionalGeneration,
        hf.Qwen2VLProcessor,
        vision,
    )


def qwen2_5_vl() -> Family:
    vision: dict[str, Any] = {"depth": 2, "hidden_size": WIDTH, "num_heads": 2, "intermediate_size": 64}
    vision |= {"out_hidden_size": WIDTH, "window_size": 56, "fullatt_block_indexes": [1]}
    return qwen(
        hf.Qwen2_5_VLConfig,
        hf.Qwen2_5_VLTextConfig,
        hf.Qwen2_5_VLForConditionalGeneration,
        hf.Qwen2_5_VLProcessor,
        vision,
    )


def qwen3_vl() -> Family:
    vision: dict[str, Any] = {"depth": 3, "hidden_size": WIDTH, "num_heads": 2, "intermediate_size": 64}
    vision |= {"out_hidden_size": WIDTH, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    return qwen(
        hf.Qwen3VLConfig,
        hf.Qwen3VLTextConfig,
        hf.Qwen3VLForConditionalGeneration,
        hf.Qwen3VLProcessor,
        vision,
        16,
    )


def glm4v() -> Family:
    named = {"image_token": "<|image|>", "video_token": "<|video|>"}
    marks = ["<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"]
    words: Any = tokenizer("glm", marks, named)
    images = Glm4vImageProcessorPil(size={"shortest_edge": 28**2, "longest_edge": 8 * 28**2 * 2})
    processor = without_video(hf.Glm4vProcessor)(
        images,
        words,
        chat_template=chat_template("glm", "<|begin_of_image|><|image|><|end_of_image|>"),
    )
    rope: dict[str, Any] = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
    rope["partial_rotary_factor"] = 1.0
    vision: dict[str, Any] = {"depth": 2, "hidden_size": WIDTH, "num_heads": 2, "intermediate_size": 64}
    vision |= {"out_hidden_size": WIDTH, "image_size": 56, "patch_size": PATCH}
    numbers = words.convert_tokens_to_ids([*named.values(), *marks])
    names = ["image_token_id", "video_token_id", "image_start_token_id", "image_end_token_id"]
    names += ["video_start_token_id", "video_end_token_id"]
    config = hf.Glm4vConfig(
        text_config=text_config(hf.models.glm4v.Glm4vTextConfig, words, rope_parameters=rope).to_dict(),
        vision_config=vision,
        **dict(zip(names, numbers, strict=True)),
    )
    return Family(hf.Glm4vForConditionalGeneration(config), processor)
