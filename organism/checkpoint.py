"""How the organism is built, saved as an ordinary LLaVA checkpoint folder, and read back."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from regap.geometry.models.checkpoints import read_whole
from regap.organism import vocabulary

PIXEL_MEAN, PIXEL_SPREAD = 0.5, 0.5
LONGEST_ANSWER = 24
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ ' ' + message['role'] + ':' }}"
    "{% if message['content'] is string %}{{ ' ' + message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ ' <image>' }}{% else %}{{ ' ' + part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ ' ' + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ ' assistant:' }}{% endif %}"
)


@dataclass(frozen=True)
class Architecture:
    """The sizes of tower and decoder; the defaults are those of the shipped organism."""

    decoder_layers: int = 12
    decoder_width: int = 96
    decoder_heads: int = 4
    decoder_inner: int = 192
    tower_layers: int = 4
    tower_width: int = 128
    tower_heads: int = 4
    tower_inner: int = 256
    image_size: int = 72
    patch_size: int = 12

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size is {self.image_size}; use a multiple of patch_size, {self.patch_size}"
            )
        if self.decoder_width % (2 * self.decoder_heads) or self.tower_width % self.tower_heads:
            raise ValueError(
                f"widths {self.decoder_width} and {self.tower_width} do not divide among "
                f"{self.decoder_heads} and {self.tower_heads} heads of even size; change a width or a number of heads"
            )

    @property
    def image_tokens(self) -> int:
        """How many decoder positions one image takes."""
        return (self.image_size // self.patch_size) ** 2


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word. It pads on the left; the chat template adds the start token."""
    words = Tokenizer(WordLevel(vocabulary.numbers(), unk_token=vocabulary.UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=vocabulary.PAD,
        bos_token=vocabulary.BEGIN,
        eos_token=vocabulary.END,
        unk_token=vocabulary.UNKNOWN,
        extra_special_tokens={"image_token": vocabulary.IMAGE},
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_processor(architecture: Architecture) -> LlavaProcessor:
    """The processor: tokenizer, image processor, chat template, and how many tokens an image takes."""
    return LlavaProcessor(
        image_processor=image_processor(architecture.image_size),
        tokenizer=build_tokenizer(),
        patch_size=architecture.patch_size,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        num_additional_image_tokens=1,
    )


def image_processor(side: int) -> CLIPImageProcessorPil:
    """The processor of square pictures of this many pixels a side, with grey at 0."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_SPREAD] * 3,
    )


def build_model(architecture: Architecture, seed: int) -> LlavaForConditionalGeneration:
    """An untrained organism. The same seed gives the same weights; global random state is unchanged."""
    number = vocabulary.numbers()
    tower = CLIPVisionConfig(
        hidden_size=architecture.tower_width,
        intermediate_size=architecture.tower_inner,
        projection_dim=architecture.tower_width,
        num_hidden_layers=architecture.tower_layers,
        num_attention_heads=architecture.tower_heads,
        image_size=architecture.image_size,
        patch_size=architecture.patch_size,
    )
    decoder = LlamaConfig(
        vocab_size=len(number),
        hidden_size=architecture.decoder_width,
        intermediate_size=architecture.decoder_inner,
        num_hidden_layers=architecture.decoder_layers,
        num_attention_heads=architecture.decoder_heads,
        num_key_value_heads=architecture.decoder_heads,
        max_position_embeddings=max(256, 4 * architecture.image_tokens),  # room for words beside the image
        bos_token_id=number[vocabulary.BEGIN],
        eos_token_id=number[vocabulary.END],
        pad_token_id=number[vocabulary.PAD],
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=tower,
        text_config=decoder,
        image_token_index=number[vocabulary.IMAGE],
        image_seq_length=architecture.image_tokens,
        # The tower is trained on its last layer, so the projector reads that layer.
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        bos_token_id=decoder.bos_token_id,
        eos_token_id=decoder.eos_token_id,
        pad_token_id=decoder.pad_token_id,
        max_new_tokens=LONGEST_ANSWER,
        do_sample=False,
    )
    return model.eval()


def save_checkpoint(model: LlavaForConditionalGeneration, architecture: Architecture, folder: Path) -> None:
    """Write a complete checkpoint folder with weights in float16. The folder appears only once it is complete."""
    shipped = build_model(architecture, seed=0)
    shipped.load_state_dict(model.state_dict())
    write_folder(shipped.half(), build_processor(architecture), folder)


def write_folder(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Write a checkpoint folder as it is, in place of one that is there; it appears only once it is complete."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished, safe_serialization=True)
    processor.save_pretrained(unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


def load_checkpoint(folder: Path) -> LlavaForConditionalGeneration:
    """The model of a checkpoint folder in float32, ready to answer."""
    model = read_whole(
        AutoModelForImageTextToText, str(folder), str(folder), dtype=torch.float32, local_files_only=True
    )
    if not isinstance(model, LlavaForConditionalGeneration):
        raise TypeError(
            f"{folder} holds a {type(model).__name__}; an organism is a LlavaForConditionalGeneration"
        )
    return model.eval()
