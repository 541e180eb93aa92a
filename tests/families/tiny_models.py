"""A tiny model of every family, from its own configuration and processor classes: width 32, random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from tiny_words import BEGIN, END, PAD, chat_template, tokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from regap.geometry.processors import pixtral_processor, without_video

hf: Any = transformers  # its lazy names and its many defaults are beyond a type checker
LAYERS, WIDTH = 3, 32
SIDE, PATCH = 28, 14


@dataclass(frozen=True)
class Family:
    """A tiny model as Hugging Face builds it, unwrapped, and its processor."""

    model: Any
    processor: Any


def text_config(kind: Any, words: Any, **more: Any) -> Any:
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": LAYERS}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 512}
    special = {name: words.convert_tokens_to_ids(mark) for name, mark in SPECIAL.items()}
    return kind(**{"vocab_size": len(words), **sizes, **special, "tie_word_embeddings": False, **more})


SPECIAL = {"pad_token_id": PAD, "bos_token_id": BEGIN, "eos_token_id": END}
TOWER: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TOWER |= {"image_size": SIDE, "patch_size": PATCH}


def awake(model: Any) -> Any:
    """The model with weights large enough that prompts and edits show in its logits."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return model.eval()


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


QWEN_MARKS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
FOUND = {"image_token_id": "image_token", "video_token_id": "video_token"}
FOUND |= {"vision_start_token_id": "vision_start_token", "vision_end_token_id": "vision_end_token"}


def _qwen(config: Any, text: Any, model: Any, processor: Any, vision: dict, patch: int = PATCH) -> Family:
    words: Any = tokenizer("chatml", named=QWEN_MARKS)
    pixels = {"shortest_edge": (2 * patch) ** 2, "longest_edge": 8 * (2 * patch) ** 2}
    images = Qwen2VLImageProcessorPil(patch_size=patch, size=pixels)
    made = without_video(processor)(images, words, chat_template=chat_template("chatml", QWEN_IMAGE))
    rope: dict[str, Any] = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
    filled = config(
        text_config=text_config(text, words, rope_parameters=rope, head_dim=16).to_dict(),
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
    return _qwen(
        hf.Qwen2VLConfig,
        hf.Qwen2VLTextConfig,
        hf.Qwen2VLForConditionalGeneration,
        hf.Qwen2VLProcessor,
        vision,
    )


def qwen2_5_vl() -> Family:
    vision: dict[str, Any] = {"depth": 2, "hidden_size": WIDTH, "num_heads": 2, "intermediate_size": 64}
    vision |= {"out_hidden_size": WIDTH, "window_size": 56, "fullatt_block_indexes": [1]}
    return _qwen(
        hf.Qwen2_5_VLConfig,
        hf.Qwen2_5_VLTextConfig,
        hf.Qwen2_5_VLForConditionalGeneration,
        hf.Qwen2_5_VLProcessor,
        vision,
    )


def qwen3_vl() -> Family:
    vision: dict[str, Any] = {"depth": 3, "hidden_size": WIDTH, "num_heads": 2, "intermediate_size": 64}
    vision |= {"out_hidden_size": WIDTH, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    return _qwen(
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


def _decoder(kind: Any, model: Any, layout: str, **more: Any) -> Family:
    words: Any = tokenizer(layout)
    words.chat_template = chat_template(layout, "")
    return Family(model(text_config(kind, words, **more)), words)


def llama() -> Family:
    return _decoder(hf.LlamaConfig, hf.LlamaForCausalLM, "llama")


def qwen3() -> Family:
    return _decoder(hf.Qwen3Config, hf.Qwen3ForCausalLM, "chatml", head_dim=16)


def gemma2() -> Family:
    return _decoder(hf.Gemma2Config, hf.Gemma2ForCausalLM, "gemma", head_dim=16, sliding_window=16)


WITH_IMAGES = [llava, llava_next, llava_onevision, qwen2_vl, qwen2_5_vl, qwen3_vl, gemma3, internvl]
WITH_IMAGES += [idefics3, smolvlm, paligemma, mllama, mistral3, pixtral, glm4v]
WORDS_ALONE = [llama, qwen3, gemma2]
FAMILIES: dict[str, Callable[[], Family]] = {make.__name__: make for make in [*WITH_IMAGES, *WORDS_ALONE]}
