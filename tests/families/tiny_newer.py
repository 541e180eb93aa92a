"""Tiny models of newer families, with images, and with sound in some of them."""

from typing import Any

from tiny_parts import LAYERS, PATCH, SIDE, TOWER, WIDTH, Family, decoder, hf, text_config
from tiny_qwen import QWEN_IMAGE
from tiny_words import chat_template, tokenizer
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.ovis2.image_processing_pil_ovis2 import Ovis2ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from regap.geometry.models.processors import without_video


def aya_vision() -> Family:
    marks = [
        "<|START_OF_IMG|>",
        "<|END_OF_IMG|>",
        "<|IMG_PATCH|>",
        "<|IMG_LINE_BREAK|>",
        "TILE",
        "TILE_GLOBAL",
    ]
    words: Any = tokenizer(
        "chatml", [*marks, *(f"TILE_{tile}" for tile in range(1, 5))], {"image_token": "<image>"}
    )
    images = GotOcr2ImageProcessorPil(size={"height": SIDE, "width": SIDE}, min_patches=1, max_patches=2)
    processor = hf.AyaVisionProcessor(
        images,
        words,
        patch_size=PATCH,
        img_size=SIDE,
        downsample_factor=2,
        chat_template=chat_template("chatml", "<image>"),
    )
    config = hf.AyaVisionConfig(
        vision_config=hf.SiglipVisionConfig(**TOWER, vision_use_head=False),
        text_config=text_config(hf.Cohere2Config, words, head_dim=16, sliding_window=16),
        image_token_index=words.convert_tokens_to_ids("<|IMG_PATCH|>"),
        downsample_factor=2,
        tie_word_embeddings=False,
    )
    return Family(hf.AyaVisionForConditionalGeneration(config), processor)


def ovis2() -> Family:
    marks = ["<IMG_START>", "<IMG_ATOM>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    words: Any = tokenizer("chatml", marks, {"image_token": "<image>"})
    images = Ovis2ImageProcessorPil(size={"height": SIDE, "width": SIDE}, min_patches=1, max_patches=2)
    processor = hf.Ovis2Processor(
        images, words, image_seq_length=4, chat_template=chat_template("chatml", "<image>")
    )
    special = [words.convert_tokens_to_ids(mark) for mark in marks]
    config = hf.Ovis2Config(
        vision_config=hf.models.ovis2.Ovis2VisionConfig(**TOWER, vocab_size=64),
        text_config=text_config(hf.Qwen2Config, words),
        image_token_id=special[1],
        visual_indicator_token_ids=[special[0], *special[2:]],
        vocab_size=len(words),
        hidden_size=WIDTH,
        tie_word_embeddings=False,
    )
    return Family(hf.Ovis2ForConditionalGeneration(config), processor)


GEMMA_MARKS = {
    "image_token": "<image_soft_token>",
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "audio_token": "<audio_soft_token>",
    "boa_token": "<start_of_audio>",
    "eoa_token": "<end_of_audio>",
}
WINDOWS = ["sliding_attention", "sliding_attention", "full_attention"]


def gemma4() -> Family:
    """The last block shares keys and values with an earlier one, and reads each token's own embedding."""
    words: Any = tokenizer("gemma", ["<|video|>"], GEMMA_MARKS)
    images = Gemma4ImageProcessorPil(patch_size=PATCH, max_soft_tokens=70, pooling_kernel_size=3)
    sound = hf.Gemma4AudioFeatureExtractor()
    processor = without_video(hf.Gemma4Processor)(
        sound,
        images,
        words,
        None,
        chat_template=chat_template("gemma", "<image_soft_token>", "<audio_soft_token>"),
        image_seq_length=4,
    )
    text = text_config(
        hf.Gemma4TextConfig,
        words,
        head_dim=16,
        sliding_window=16,
        layer_types=WINDOWS,
        use_bidirectional_attention="vision",
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=len(words),
    )
    vision = hf.Gemma4VisionConfig(
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        patch_size=PATCH,
        pooling_kernel_size=3,
        position_embedding_size=64,
    )
    names = ("image", "boi", "eoi", "audio", "boa")
    ids = {f"{name}_token_id": words.convert_tokens_to_ids(GEMMA_MARKS[f"{name}_token"]) for name in names}
    listening: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = hf.Gemma4Config(
        text_config=text,
        vision_config=vision,
        audio_config=hf.Gemma4AudioConfig(**listening),
        video_token_id=words.convert_tokens_to_ids("<|video|>"),
        tie_word_embeddings=False,
        **ids,
    )
    return Family(hf.Gemma4ForConditionalGeneration(config), processor)


def gemma3n() -> Family:
    """Refused: its blocks carry several streams."""
    more: dict[str, Any] = {"head_dim": 16, "layer_types": WINDOWS, "sliding_window": 16, "laurel_rank": 4}
    more |= {
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 0,
        "activation_sparsity_pattern": [0.0] * LAYERS,
    }
    made = tokenizer("gemma")
    more["vocab_size_per_layer_input"] = len(made)
    return decoder(hf.Gemma3nTextConfig, hf.Gemma3nForCausalLM, "gemma", **more)


OMNI_MARKS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "audio_token": "<|audio_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}


def _omni(processor: Any, patch: int) -> tuple[Any, Any, dict[str, int]]:
    words: Any = tokenizer("chatml", named=OMNI_MARKS)
    pixels = {"shortest_edge": (2 * patch) ** 2, "longest_edge": 8 * (2 * patch) ** 2}
    images = Qwen2VLImageProcessorPil(patch_size=patch, size=pixels)
    sound = hf.WhisperFeatureExtractor(feature_size=16, chunk_length=4)
    made = without_video(processor)(
        images, None, sound, words, chat_template=chat_template("chatml", QWEN_IMAGE, QWEN_AUDIO)
    )
    ids = {name: words.convert_tokens_to_ids(mark) for name, mark in OMNI_MARKS.items()}
    return words, made, ids


QWEN_AUDIO = "<|audio_bos|><|audio_pad|><|audio_eos|>"
ROPE: dict[str, Any] = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
SOUND: dict[str, Any] = {
    "num_mel_bins": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
}
SOUND |= {"d_model": WIDTH, "output_dim": WIDTH, "max_source_positions": 200}


def qwen2_5_omni() -> Family:
    """The part that thinks; the part that talks is not used."""
    words, processor, ids = _omni(hf.Qwen2_5OmniProcessor, PATCH)
    vision: dict[str, Any] = {"depth": 2, "hidden_size": WIDTH, "num_heads": 2, "intermediate_size": 64}
    vision |= {"out_hidden_size": WIDTH, "window_size": 56, "fullatt_block_indexes": [1], "patch_size": PATCH}
    config = hf.models.qwen2_5_omni.Qwen2_5OmniThinkerConfig(
        audio_config=SOUND,
        vision_config=vision,
        text_config=text_config(
            hf.models.qwen2_5_omni.configuration_qwen2_5_omni.Qwen2_5OmniTextConfig,
            words,
            rope_parameters=ROPE,
        ).to_dict(),
        image_token_index=ids["image_token"],
        video_token_index=ids["video_token"],
        audio_token_index=ids["audio_token"],
        vision_start_token_id=ids["vision_bos_token"],
        vision_end_token_id=ids["vision_eos_token"],
        audio_start_token_id=ids["audio_bos_token"],
        audio_end_token_id=ids["audio_eos_token"],
    )
    return Family(hf.Qwen2_5OmniThinkerForConditionalGeneration(config), processor)


def qwen3_omni() -> Family:
    """The part that thinks; the part that talks is not used."""
    words, processor, ids = _omni(hf.Qwen3OmniMoeProcessor, 16)
    vision: dict[str, Any] = {"depth": 3, "hidden_size": WIDTH, "num_heads": 2, "intermediate_size": 64}
    vision |= {"out_hidden_size": WIDTH, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    experts: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    experts |= {"decoder_sparse_step": 1, "mlp_only_layers": [], "head_dim": 16}
    package = hf.models.qwen3_omni_moe.configuration_qwen3_omni_moe
    sound = {
        **SOUND,
        "downsample_hidden_size": 16,
        "n_window": 50,  # its count of tokens supposes this
        "n_window_infer": 100,
        "conv_chunksize": 50,
    }
    config = package.Qwen3OmniMoeThinkerConfig(
        audio_config=sound,
        vision_config={"patch_size": 16, **vision},
        text_config=text_config(
            package.Qwen3OmniMoeTextConfig, words, rope_parameters=ROPE, **experts
        ).to_dict(),
        image_token_id=ids["image_token"],
        video_token_id=ids["video_token"],
        audio_token_id=ids["audio_token"],
        vision_start_token_id=ids["vision_bos_token"],
        vision_end_token_id=ids["vision_eos_token"],
        audio_start_token_id=ids["audio_bos_token"],
        audio_end_token_id=ids["audio_eos_token"],
    )
    return Family(hf.Qwen3OmniMoeThinkerForConditionalGeneration(config), processor)
