"""Tiny models with marks of their own around an image, or with none of its patches in the stream."""

from collections.abc import Callable
from typing import Any

from tiny_parts import LAYERS, PATCH, SIDE, TOWER, WIDTH, Family, hf, text_config
from tiny_words import chat_template, tokenizer
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from regap.geometry.models.processors import without_video


def gemma3() -> Family:
    named = {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }
    words: Any = tokenizer("gemma", named=named)
    images = Gemma3ImageProcessorPil(size={"height": SIDE, "width": SIDE})
    processor = hf.Gemma3Processor(
        images, words, image_seq_length=4, chat_template=chat_template("gemma", "<start_of_image>")
    )
    text = text_config(
        hf.Gemma3TextConfig,
        words,
        head_dim=16,
        sliding_window=16,
        query_pre_attn_scalar=16,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    )
    config = hf.Gemma3Config(
        text_config=text,
        vision_config=hf.SiglipVisionConfig(**TOWER, vision_use_head=False),
        mm_tokens_per_image=4,
        image_token_index=words.convert_tokens_to_ids("<image_soft_token>"),
        boi_token_index=words.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=words.convert_tokens_to_ids("<end_of_image>"),
        tie_word_embeddings=False,
    )
    return Family(hf.Gemma3ForConditionalGeneration(config), processor)


def paligemma() -> Family:
    words: Any = tokenizer("bare", named={"image_token": "<image>"})
    images = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    vars(images)["image_seq_length"] = 4
    processor = hf.PaliGemmaProcessor(images, words, chat_template=chat_template("bare", "<image>"))
    text = text_config(hf.GemmaConfig, words, head_dim=16)
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(**TOWER, vision_use_head=False, projection_dim=WIDTH),
        text_config=text,
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=WIDTH,
        hidden_size=WIDTH,
        tie_word_embeddings=False,
    )
    return Family(hf.PaliGemmaForConditionalGeneration(config), processor)


IDEFICS_NAMED = {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"}
IDEFICS_NAMED |= {"global_image_token": "<global-img>"}
ROWS = [f"<row_{row}_col_{column}>" for row in range(1, 3) for column in range(1, 3)]


def _idefics(model: Any, config: Any, vision: Any, images: Any, make_processor: Callable) -> Family:
    words: Any = tokenizer("idefics", ROWS, IDEFICS_NAMED)
    sizes = {"size": {"longest_edge": 2 * SIDE}, "max_image_size": {"longest_edge": SIDE}}
    processor = make_processor(
        images(**sizes), words, image_seq_len=1, chat_template=chat_template("idefics", "<image>")
    )
    filled = config(
        vision_config=vision(**TOWER),
        text_config=text_config(hf.LlamaConfig, words),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=words.pad_token_id,
    )
    return Family(model(filled), processor)


def idefics3() -> Family:
    return _idefics(
        hf.Idefics3ForConditionalGeneration,
        hf.Idefics3Config,
        hf.models.idefics3.Idefics3VisionConfig,
        Idefics3ImageProcessorPil,
        hf.Idefics3Processor,
    )


def smolvlm() -> Family:
    return _idefics(
        hf.SmolVLMForConditionalGeneration,
        hf.SmolVLMConfig,
        hf.models.smolvlm.SmolVLMVisionConfig,
        SmolVLMImageProcessorPil,
        lambda images, words, **more: without_video(hf.SmolVLMProcessor)(images, words, None, **more),
    )


def mllama() -> Family:
    words: Any = tokenizer("llama", ["<|python_tag|>"], {"image_token": "<|image|>"})
    images = MllamaImageProcessorPil(size={"height": SIDE, "width": SIDE}, max_image_tiles=2)
    processor = hf.MllamaProcessor(images, words, chat_template=chat_template("llama", "<|image|>"))
    vision: dict[str, Any] = {
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_global_layers": 1,
        "attention_heads": 2,
    }
    vision |= {"intermediate_size": 64, "vision_output_dim": 2 * WIDTH, "image_size": SIDE}
    vision |= {"patch_size": PATCH, "max_num_tiles": 2, "intermediate_layers_indices": [1]}
    ratios = [[1, 1], [1, 2], [2, 1]]
    text = text_config(
        hf.models.mllama.MllamaTextConfig,
        words,
        num_hidden_layers=LAYERS,
        cross_attention_layers=[1],
        vocab_size=len(words),
    )
    config = hf.MllamaConfig(
        vision_config={**vision, "supported_aspect_ratios": ratios},
        text_config=text,
        image_token_index=words.convert_tokens_to_ids("<|image|>"),
    )
    return Family(hf.MllamaForConditionalGeneration(config), processor)
