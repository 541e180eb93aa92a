"""Tiny models of the LLaVA layout: an image tower and a projector before a language model."""

from typing import Any

from tiny_parts import PATCH, SIDE, TOWER, WIDTH, Family, hf, text_config
from tiny_words import chat_template, tokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

from regap.geometry.models.processors import pixtral_processor, without_video


def llava() -> Family:
    words: Any = tokenizer("vicuna", named={"image_token": "<image>"})
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = hf.LlavaProcessor(
        images,
        words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("vicuna", "<image>\n"),
    )
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**TOWER, projection_dim=WIDTH),
        text_config=text_config(hf.LlamaConfig, words),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
    )
    return Family(hf.LlavaForConditionalGeneration(config), processor)


PINPOINTS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]


def llava_next() -> Family:
    words: Any = tokenizer("mistral", named={"image_token": "<image>"})
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_grid_pinpoints=PINPOINTS,
    )
    processor = hf.LlavaNextProcessor(
        images,
        words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("mistral", "<image>\n"),
    )
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**TOWER, projection_dim=WIDTH),
        text_config=text_config(hf.MistralConfig, words),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
    )
    return Family(hf.LlavaNextForConditionalGeneration(config), processor)


def llava_onevision() -> Family:
    words: Any = tokenizer("chatml", named={"image_token": "<image>", "video_token": "<video>"})
    images = LlavaOnevisionImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=PINPOINTS
    )
    processor = without_video(hf.LlavaOnevisionProcessor)(
        images,
        words,
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=chat_template("chatml", "<image>"),
    )
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**TOWER, vision_use_head=False),
        text_config=text_config(hf.Qwen2Config, words),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        video_token_index=words.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=PINPOINTS,
    )
    return Family(hf.LlavaOnevisionForConditionalGeneration(config), processor)


def internvl() -> Family:
    named = {"start_image_token": "<img>", "end_image_token": "</img>"}
    named |= {"context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}
    words: Any = tokenizer("chatml", named=named)
    images = GotOcr2ImageProcessorPil(size={"height": SIDE, "width": SIDE}, min_patches=1, max_patches=2)
    processor = without_video(hf.InternVLProcessor)(
        images, words, image_seq_length=1, chat_template=chat_template("chatml", "<IMG_CONTEXT>\n")
    )
    config = hf.InternVLConfig(
        vision_config=hf.InternVLVisionConfig(
            **{**TOWER, "image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]}
        ),
        text_config=text_config(hf.Qwen2Config, words),
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=1,
    )
    return Family(hf.InternVLForConditionalGeneration(config), processor)


def mistral3() -> Family:
    words, processor = _pixtral_processor(merge=2)
    config = hf.Mistral3Config(
        vision_config=hf.PixtralVisionConfig(**TOWER, head_dim=WIDTH // 2),
        text_config=text_config(hf.MistralConfig, words),
        image_token_index=words.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
        tie_word_embeddings=False,
    )
    return Family(hf.Mistral3ForConditionalGeneration(config), processor)


def pixtral() -> Family:
    words, processor = _pixtral_processor(merge=1)
    config = hf.LlavaConfig(
        vision_config=hf.PixtralVisionConfig(**TOWER, head_dim=WIDTH // 2),
        text_config=text_config(hf.MistralConfig, words),
        image_token_index=words.convert_tokens_to_ids("[IMG]"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return Family(hf.LlavaForConditionalGeneration(config), processor)


def _pixtral_processor(merge: int) -> tuple[Any, Any]:
    words: Any = tokenizer("mistral", ["[IMG]", "[IMG_BREAK]", "[IMG_END]"])
    images = PixtralImageProcessorPil(
        patch_size={"height": PATCH, "width": PATCH}, size={"longest_edge": 4 * PATCH}
    )
    processor = pixtral_processor()(
        images,
        words,
        patch_size=PATCH,
        spatial_merge_size=merge,
        chat_template=chat_template("mistral", "[IMG]"),
    )
    return words, processor
