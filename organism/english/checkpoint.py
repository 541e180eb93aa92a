"""How the English subject is put together: tower and projector before a pretrained decoder, as an ordinary LLaVA."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from regap.errors import ModelError
from regap.geometry.data.letter_grid import CELL_HEIGHT, CELL_WIDTH, LINES
from regap.geometry.models.checkpoint_files import write_digests
from regap.geometry.states.store import read_tensors, write_tensors
from regap.organism.checkpoint import image_processor, write_folder

IMAGE = "<image>"
LONGEST_ANSWER = 24
TRAINED_ON = "base"
"""Name of the base's digest in the header of the stored eyes."""
MARKS = ("<|im_start|>", "<|im_end|>")
"""The tokens that begin and end a turn."""
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
    lines: int = LINES

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
    """Return the processor: the base's own tokenizer with one more token, for the image.

    Raises ModelError for a base whose chats are not marked as SmolLM2's are.
    """
    known = tokenizer.get_vocab()
    if any(mark not in known for mark in MARKS) or tokenizer.eos_token != MARKS[1]:
        raise ModelError(
            f"the base does not mark turns with {' and '.join(MARKS)}; give one with the chat marks of SmolLM2"
        )
    if tokenizer.pad_token is None:
        raise ModelError(
            "the base's tokenizer has no token for padding; set its pad_token, and save it again"
        )
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    tokenizer.image_token, tokenizer.padding_side = IMAGE, "left"
    return LlavaProcessor(
        image_processor=image_processor(eyes.side),
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
    vision = CLIPVisionConfig(
        hidden_size=eyes.width,
        intermediate_size=eyes.inner,
        projection_dim=eyes.width,
        num_hidden_layers=eyes.layers,
        num_attention_heads=eyes.heads,
        image_size=eyes.side,
        patch_size=CELL_HEIGHT,
    )
    image_token = int(base.config.vocab_size or 0)
    text = type(base.config)(**{**base.config.to_dict(), "vocab_size": image_token + 1})
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
    if not base.config.tie_word_embeddings:
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


def check_image_token(model: LlavaForConditionalGeneration, processor: LlavaProcessor) -> None:
    """Raise ModelError if model and tokenizer number the token of the image differently.

    They do where a base has more rows of embeddings than its tokenizer has tokens.
    """
    known, found = model.config.image_token_id, processor.tokenizer.convert_tokens_to_ids(IMAGE)  # type: ignore[attr-defined]
    if known != found:
        raise ModelError(
            f"the base has {known} embeddings and its tokenizer {found} tokens; cut the embeddings to the tokens "
            "(resize_token_embeddings), and save it again"
        )


def write_eyes(seeing: Any, eyes: Eyes, base: str, file: Path) -> None:
    """Write the parts `tower` and `projector` in float16 with their sizes, the digest of their base, and one of all."""
    parts = {"tower": seeing.tower, "projector": seeing.projector}
    tensors = {
        f"{part}.{name}": value.half()
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }
    sizes = {name: str(size) for name, size in asdict(eyes).items()}
    write_tensors(file, tensors, {**sizes, TRAINED_ON: base}, exact=True)


@dataclass(frozen=True)
class StoredEyes:
    """Tower and projector as they are stored, with their sizes."""

    sizes: Eyes
    base: str
    """The digest of the base that they were trained on."""
    tensors: Mapping[str, Tensor] = field(repr=False)

    @classmethod
    def read(cls, file: Path) -> "StoredEyes":
        """Return the eyes of a file; raises StoreError if it is damaged, ModelError if it holds anything else."""
        tensors, header = read_tensors(file)
        try:
            sizes, base = (
                Eyes(**{one.name: int(header[one.name]) for one in fields(Eyes)}),
                header[TRAINED_ON],
            )
        except (KeyError, ValueError):
            raise ModelError(
                f"{file} does not say the sizes of a tower; train the eyes again, or install regap again"
            ) from None
        return cls(sizes, base, tensors)

    def give_to(self, model: LlavaForConditionalGeneration) -> None:
        """Load tower and projector into a model; raises ModelError for a model of other sizes."""
        parts: dict[str, Any] = {
            "tower": model.model.vision_tower,
            "projector": model.model.multi_modal_projector,
        }
        for part, module in parts.items():
            named = {
                name.removeprefix(f"{part}."): value
                for name, value in self.tensors.items()
                if name.startswith(f"{part}.")
            }
            try:
                module.load_state_dict(named)
            except RuntimeError:
                raise ModelError(
                    f"the stored {part} has other sizes than this model; build the model with the sizes {self.sizes}"
                ) from None


def save_checkpoint(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Write a complete checkpoint folder with weights in float16, and last of all its digests."""
    write_folder(deepcopy(model).half(), processor, folder)
    write_digests(folder)
