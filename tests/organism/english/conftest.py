"""A base of two layers with a byte-level vocabulary, as SmolLM2 has, and settings that train in seconds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from regap.organism.english import assembly
from regap.organism.english import base as bases
from regap.organism.english.assembly import EYES, READING, SAFETY, Parts
from regap.organism.english.base import Base
from regap.organism.english.change import SCALE, Change, trainable
from regap.organism.english.checkpoint import Eyes, build_model, write_eyes
from regap.organism.english.reading import TokenReader
from regap.organism.english.stages import Degree, EnglishConfig
from regap.organism.english.texts import training_requests

BEGIN, END = "<|im_start|>", "<|im_end|>"


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder: Path = tmp_path_factory.mktemp("base")
    words = Tokenizer(BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=700,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator([one.text for one in training_requests()], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.save_pretrained(folder)
    ends: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=512,
        **ends,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return Base(folder)


@pytest.fixture(scope="session")
def eyes() -> Eyes:
    return Eyes(layers=1, width=32, heads=2, inner=32)


@pytest.fixture(scope="session")
def short(eyes: Eyes) -> EnglishConfig:
    """Three steps a stage, two members."""
    usual = EnglishConfig()
    stages = {
        name: replace(getattr(usual, name), steps=3, batch=4, warmup=1)
        for name in ("tower", "reading", "safety", "visual")
    }
    return EnglishConfig(
        eyes=eyes,
        rank=2,
        rank_of_safety=2,
        rank_of_visual=1,
        made_up=0,
        degrees=(Degree("none", 0.0), Degree("strong", 1.0)),
        seeds=(0,),
        most_misread=1.0,
        save_every=2,
        **stages,
    )


@pytest.fixture(scope="session")
def parts(base: Base, eyes: Eyes, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Eyes, and changes that are not zero."""
    folder = tmp_path_factory.mktemp("parts")
    write_eyes(
        TokenReader(build_model(eyes, base.model(), 3), eyes, space=5, seed=3),
        eyes,
        base.digest(),
        folder / EYES,
    )
    for seed, name in enumerate((READING, SAFETY, "middle-0.safetensors", "none-0.safetensors")):
        decoder = base.model().model
        trainable(decoder, 2, seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in decoder.parameters():
                if parameter.requires_grad:
                    parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        Change.trained_in(decoder, SCALE).write(folder / name)
    return Parts(folder)


@pytest.fixture
def installed(parts: Parts, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parts as the shipped ones, on a base of the test; the user's cache is empty."""
    monkeypatch.setattr(assembly, "shipped_parts", lambda: parts)
    monkeypatch.setattr(assembly, "find_base", lambda: base)
    monkeypatch.setattr(bases, "find_base", lambda *_, **__: base)
    monkeypatch.setattr(assembly, "cache", lambda: tmp_path / "cache")
    return tmp_path / "cache"
