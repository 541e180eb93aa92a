"""Tiny models of families that take sounds and no images."""

import base64
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tiny_parts import WIDTH, Family, hf, text_config
from tiny_words import chat_template, tokenizer

from regap.geometry.models.voxtral import VoxtralPrompts

PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TOOLS = ["[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]"]
IMAGES = ["[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]"]
MISTRAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", *TOOLS, *IMAGES]
MISTRAL += ["[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"]
QWEN_AUDIO = "Audio: <|audio_bos|><|AUDIO|><|audio_eos|>\n"
SECONDS = 2
"""Length that shorter sounds are filled up to."""
MELS = 16


def _extractor() -> Any:
    return hf.WhisperFeatureExtractor(feature_size=MELS, chunk_length=SECONDS)


def _encoder(kind: Any, **more: Any) -> Any:
    sizes: dict[str, Any] = {
        "encoder_ffn_dim": 4 * WIDTH,
        "num_mel_bins": MELS,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
    }
    return kind(**sizes, d_model=WIDTH, max_source_positions=50 * SECONDS, **more)


def tekken_file(folder: Path) -> None:
    """A tokenizer in Mistral's own format: bytes, a few words, and the marks of its version 7."""
    words = [bytes([byte]) for byte in range(256)] + [
        word.encode() for word in (" t", "he", "in", "the", " the")
    ]
    marks = [*MISTRAL, *(f"<SPECIAL_{place}>" for place in range(len(MISTRAL), 29))]
    for place, mark in {24: "[AUDIO]", 25: "[BEGIN_AUDIO]", 28: "[TRANSCRIBE]"}.items():
        marks[place] = mark
    shown = [(place, base64.b64encode(word).decode()) for place, word in enumerate(words)]
    spectrogram = {"num_mel_bins": MELS, "hop_length": 160, "window_size": 400}
    sounds = {"sampling_rate": 16_000, "frame_rate": 12.5, "chunk_length_s": SECONDS}
    config = {
        "pattern": PATTERN,
        "num_vocab_tokens": len(words),
        "default_vocab_size": len(words) + len(marks),
        "default_num_special_tokens": len(marks),
        "version": "v7",
    }
    content = {
        "config": config,
        "vocab": [{"rank": place, "token_bytes": word, "token_str": None} for place, word in shown],
        "special_tokens": [
            {"rank": place, "token_str": mark, "is_control": True} for place, mark in enumerate(marks)
        ],
        "audio": {**sounds, "audio_encoding_config": spectrogram},
    }
    (folder / "tekken.json").write_text(json.dumps(content))


def voxtral() -> Family:
    with TemporaryDirectory() as folder:
        tekken_file(Path(folder))
        _extractor().save_pretrained(folder)
        processor = VoxtralPrompts.read(folder, {})
    words = processor.tokenizer
    config = hf.VoxtralConfig(
        audio_config=_encoder(hf.VoxtralEncoderConfig),
        text_config=text_config(hf.LlamaConfig, words).to_dict(),
        audio_token_id=words.convert_tokens_to_ids("[AUDIO]"),
    )
    return Family(hf.VoxtralForConditionalGeneration(config), processor)


def qwen2_audio() -> Family:
    words: Any = tokenizer("chatml", ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"])
    processor = hf.Qwen2AudioProcessor(
        _extractor(), words, chat_template=chat_template("chatml", "", QWEN_AUDIO)
    )
    config = hf.Qwen2AudioConfig(
        audio_config=_encoder(hf.Qwen2AudioEncoderConfig),
        text_config=text_config(hf.Qwen2Config, words),
        audio_token_index=words.convert_tokens_to_ids("<|AUDIO|>"),
    )
    return Family(hf.Qwen2AudioForConditionalGeneration(config), processor)
