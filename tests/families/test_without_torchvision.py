"""Families whose processors need torchvision: that is said at load; with their tokenizer alone they read words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import WORDS, difference
from refusing import save
from safetensors.torch import load_file, save_file
from tiny_llava import llava
from tiny_models import FAMILIES
from tiny_newer import gemma3n
from tiny_parts import LAYERS, PATCH, SIDE, TOWER, WIDTH, awake, hf, text_config
from tiny_words import chat_template, tokenizer

from regap.errors import ModelError
from regap.geometry.forward.prefix import prefill, run, run_last_token
from regap.geometry.models.loading import load
from regap.geometry.prompts.batch import collate

EVERY = tuple(range(LAYERS))
EXPERTS: dict[str, Any] = {
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "head_dim": 16,
    "moe_layers": [1],
}


def llama4(words: Any) -> Any:
    vision = {
        **TOWER,
        "vision_output_dim": WIDTH,
        "projector_input_dim": WIDTH,
        "projector_output_dim": WIDTH,
    }
    config = hf.Llama4Config(
        vision_config={**vision, "pixel_shuffle_ratio": 0.5},
        text_config=text_config(hf.Llama4TextConfig, words, intermediate_size_mlp=64, **EXPERTS).to_dict(),
    )
    return hf.Llama4ForConditionalGeneration(config)


def cohere2_vision(words: Any) -> Any:
    config = hf.Cohere2VisionConfig(
        vision_config=hf.SiglipVisionConfig(**TOWER, vision_use_head=False),
        text_config=text_config(hf.Cohere2Config, words, head_dim=16, sliding_window=16),
        alignment_intermediate_size=64,
    )
    return hf.Cohere2VisionForConditionalGeneration(config)


def minicpm_v(words: Any) -> Any:
    text = text_config(
        hf.Qwen3_5TextConfig,
        words,
        head_dim=16,
        layer_types=["linear_attention", "full_attention", "linear_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
    )
    config = hf.MiniCPMV4_6Config(
        text_config=text.to_dict(),
        vision_config={**TOWER, "image_size": SIDE, "patch_size": PATCH},
        insert_layer_id=1,
    )
    return hf.MiniCPMV4_6ForConditionalGeneration(config)


MADE: dict[str, Callable[[Any], Any]] = {make.__name__: make for make in (llama4, cohere2_vision, minicpm_v)}
PROCESSORS = {
    "Llama4": "Llama4Config",
    "Cohere2Vision": "Cohere2VisionConfig",
    "PerceptionLM": "PerceptionLMConfig",
    "Phi4Multimodal": "Phi4MultimodalConfig",
    "Molmo2": "Molmo2Config",
    "MiniCPMV4_6": "MiniCPMV4_6Config",
    "MiniCPMOcr": "MiniCPMOcrConfig",
}


@pytest.mark.parametrize("family", PROCESSORS)
def test_the_package_is_named_in_one_line(family: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    if hf.utils.is_torchvision_available():
        pytest.skip("it is installed")
    getattr(hf, PROCESSORS[family])().save_pretrained(tmp_path)
    words: Any = tokenizer("chatml")
    words.chat_template = chat_template("chatml", "<image>")
    words.save_pretrained(tmp_path)
    named = {"processor_class": f"{family}Processor"}
    (tmp_path / "processor_config.json").write_text(json.dumps(named))
    images = named | {"image_processor_type": f"{family}ImageProcessor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(images))
    with pytest.raises(
        ModelError, match=r"needs torchvision; install the version that belongs to .* torch$"
    ) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", MADE)
def test_words_are_read_as_hugging_face_reads_them(family: str) -> None:
    words: Any = tokenizer("chatml")
    words.chat_template = chat_template("chatml", "")
    bare = awake(MADE[family](words))
    model = load(bare, processor=words)
    batch = collate(model, WORDS, range(len(WORDS)))
    seen = run(model, batch, EVERY)
    with torch.inference_mode():
        expected = model.hf(**batch.inputs, use_cache=False, output_hidden_states=True)
    assert difference(seen.logits, expected.logits[:, -1]) < 1e-6
    for layer in EVERY[:-1]:
        assert difference(seen.states[:, layer], expected.hidden_states[layer + 1][:, -1]) < 1e-6
    singles = [run(model, collate(model, [prompt], [0]), EVERY) for prompt in WORDS]
    assert difference(seen.logits, torch.cat([each.logits for each in singles])) < 1e-4
    for _ in range(2):
        once = run_last_token(model, prefill(model, batch), EVERY)
        assert difference(once.logits, seen.logits) < 1e-4


def test_several_streams_are_refused_when_the_model_is_loaded() -> None:
    made = gemma3n()
    with pytest.raises(
        ModelError, match=r"its blocks hold \[4, 1, 2, 32\] for 2 tokens of width 32, and not one"
    ):
        load(made.model, processor=made.processor)
    assert load(llava().model, processor=llava().processor)  # the control


@pytest.mark.filterwarnings("ignore:model .*talker:UserWarning")
@pytest.mark.parametrize("family", ["qwen2_5_omni", "qwen3_omni"])
def test_the_part_that_thinks_is_read_from_a_checkpoint_of_all_parts(family: str, tmp_path: Path) -> None:
    made = FAMILIES[family]()
    save(made, tmp_path)
    package = hf.models.qwen2_5_omni if family == "qwen2_5_omni" else hf.models.qwen3_omni_moe
    whole = package.Qwen2_5OmniConfig if family == "qwen2_5_omni" else package.Qwen3OmniMoeConfig
    whole(thinker_config=made.model.config.to_dict()).save_pretrained(tmp_path)
    weights = {f"thinker.{name}": value for name, value in load_file(tmp_path / "model.safetensors").items()}
    talker = {"talker.extra": torch.zeros(2)}
    save_file({**weights, **talker}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model = load(tmp_path)
    assert torch.equal(model.hf.get_output_embeddings().weight, made.model.lm_head.weight)
    assert type(model.hf) is type(made.model)
