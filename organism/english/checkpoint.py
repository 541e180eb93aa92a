"""How the English subject is put together: tower and projector before a pretrained decoder, as an ordinary LLaVA."""

import os
import shutil
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from regap.errors import ModelError
from regap.geometry.files import write_whole
from regap.geometry.models.checkpoint_files import write_digests
from regap.organism.checkpoint import PIXEL_MEAN, PIXEL_SPREAD
from regap.organism.english.drawing import CELL_HEIGHT, CELL_WIDTH

IMAGE = "<image>"
LONGEST_ANSWER = 24
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
"""The system message that SmolLM2's own template writes if none is given."""
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    + SYSTEM
    + "<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Eyes:
    """The sizes of the tower; a picture holds `columns` letters in each of `lines` lines, two letters a patch."""

    layers: int = 5
    width: int = 192
    heads: int = 6
    inner: int = 768
    lines: int = 8

    def __post_init__(self) -> None:
        if self.lines < 1 or self.width % self.heads:
            raise ValueError(
                f"lines is {self.lines}, width {self.width} and heads {self.heads}; give at least one line, and a "
                "width that the heads divide"
            )

    @property
    def side(self) -> int:
        """Height and width of a picture in pixels."""
        return self.lines * CELL_HEIGHT

    @property
    def columns(self) -> int:
        """Letters in a line."""
        return self.side // CELL_WIDTH

    @property
    def image_tokens(self) -> int:
        """How many decoder positions one image takes: a patch is as high as a line."""
        return self.lines**2


def build_processor(eyes: Eyes, tokenizer: Any) -> LlavaProcessor:
    """Return the processor: the base's own tokenizer with one more token, for the image."""
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    tokenizer.image_token, tokenizer.padding_side = IMAGE, "left"
    images = CLIPImageProcessorPil(
        size={"shortest_edge": eyes.side},
        crop_size={"height": eyes.side, "width": eyes.side},
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_SPREAD] * 3,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=CELL_HEIGHT,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )


def build_model(eyes: Eyes, base: LlamaForCausalLM, seed: int) -> LlavaForConditionalGeneration:
    """Return the base with an untrained tower and projector; its vocabulary has one token more, for the image.

    The same seed gives the same tower; global random state is unchanged.
    """
    text, vision = (
        base.config.to_dict(),
        CLIPVisionConfig(
            hidden_size=eyes.width,
            intermediate_size=eyes.inner,
            projection_dim=eyes.width,
            num_hidden_layers=eyes.layers,
            num_attention_heads=eyes.heads,
            image_size=eyes.side,
            patch_size=CELL_HEIGHT,
        ),
    )
    image_token = int(base.config.vocab_size or 0)
    text = type(base.config)(**{**text, "vocab_size": image_token + 1})
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image_token,
        image_seq_length=eyes.image_tokens,
        # The tower is trained on its last layer, so the projector reads that layer.
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=base.config.tie_word_embeddings,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    weights = base.state_dict()
    table = weights["model.embed_tokens.weight"]
    weights["model.embed_tokens.weight"] = torch.cat([table, table.mean(0, keepdim=True)])
    if not base.config.tie_word_embeddings:
        head = weights["lm_head.weight"]
        weights["lm_head.weight"] = torch.cat([head, head.mean(0, keepdim=True)])
    own = {
        name.removeprefix("model."): weight for name, weight in weights.items() if name.startswith("model.")
    }
    model.model.language_model.load_state_dict(own)
    if "lm_head.weight" in weights and not base.config.tie_word_embeddings:
        model.lm_head.load_state_dict({"weight": weights["lm_head.weight"]})
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=text.bos_token_id,
        eos_token_id=text.eos_token_id,
        pad_token_id=text.pad_token_id if text.pad_token_id is not None else text.eos_token_id,
        max_new_tokens=LONGEST_ANSWER,
        do_sample=False,
    )
    return model.float().eval()


def write_eyes(seeing: Any, file: Path) -> None:
    """Write the parts `tower` and `projector` in float16."""
    parts = {"tower": seeing.tower, "projector": seeing.projector}
    write_whole(
        file,
        save(
            {
                f"{part}.{name}": value.detach().cpu().half().contiguous()
                for part, module in parts.items()
                for name, value in module.state_dict().items()
            }
        ),
    )


def read_eyes(file: Path, model: LlavaForConditionalGeneration) -> None:
    """Give the model the tower and projector of the file."""
    stored = load_file(file)
    parts: dict[str, Any] = {
        "tower": model.model.vision_tower,
        "projector": model.model.multi_modal_projector,
    }
    for part, module in parts.items():
        own = {
            name.removeprefix(f"{part}."): value.float()
            for name, value in stored.items()
            if name.startswith(f"{part}.")
        }
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise ModelError(
                f"{file} does not hold the {part} of this subject ({error}); install regap again"
            ) from None


def save_checkpoint(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Write a complete checkpoint folder with weights in float16, and its digests; it appears only once complete."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    kept = deepcopy(model).half()
    kept.save_pretrained(unfinished)
    processor.save_pretrained(unfinished)
    write_digests(unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)
