"""How prompts become model inputs: chat template, images, left padding."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from regap.geometry.models import Model, ModelError
from regap.geometry.pairs import IMAGE_SLOT, Prompt


@dataclass(frozen=True, eq=False)
class Batch:
    """Left-padded inputs of a few prompts: the last column is every prompt's last token."""

    inputs: Mapping[str, Tensor] = field(repr=False)
    """Everything the processor returned, on the model's device."""
    rows: tuple[int, ...]
    """Which prompts these are, as positions in the list that was batched."""
    image_token: int | None = None
    """The token id that stands for one patch of an image, None if the model has none."""
    pictures: tuple[str, ...] = ()
    """Digests of the pictures, prompt after prompt; empty if it is not known which they are."""
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    """What has been run of this batch, by model: later passes start from it."""

    def __post_init__(self) -> None:
        mask = self.inputs["attention_mask"]
        if not bool(mask[:, -1].all()):
            raise ModelError("the processor pads on the right; set processor.tokenizer.padding_side = 'left'")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def real(self) -> Bool[Tensor, "prompt token"]:
        """True at tokens of the prompt, False at padding."""
        return self.inputs["attention_mask"].bool()

    @property
    def image(self) -> Bool[Tensor, "prompt token"]:
        """True at the tokens that stand for image patches."""
        if self.image_token is None:
            return torch.zeros_like(self.real)
        return self.inputs["input_ids"] == self.image_token


def render(model: Model, prompt: Prompt) -> str:
    """Return the prompt as the model reads it, after the chat template, up to where its answer begins."""
    content = []
    for number, words in enumerate(prompt.text.split(IMAGE_SLOT)):
        content += [{"type": "image"}] if number else []
        content += [{"type": "text", "text": words}] if words else []
    conversation = [{"role": "user", "content": content}]
    if prompt.system is not None:
        conversation.insert(0, {"role": "system", "content": [{"type": "text", "text": prompt.system}]})
    return model.processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)


def prompt_digest(rendered: str, prompt: Prompt) -> str:
    """Return a digest of all that the model is shown: the rendered text and the images' bytes."""
    pictures = ",".join(picture.sha256 for picture in prompt.pictures)
    return hashlib.sha256(f"{rendered}\0{pictures}".encode()).hexdigest()


def collate(model: Model, prompts: Sequence[Prompt], rows: Sequence[int]) -> Batch:
    """Return one left-padded batch of these prompts; all of them have pictures, or none has."""
    texts = [render(model, prompt) for prompt in prompts]
    pictures = [[picture.open() for picture in prompt.pictures] for prompt in prompts if prompt.pictures]
    if pictures and len(pictures) != len(prompts):
        raise ModelError(
            f"a batch mixes {len(pictures)} prompts with an image and {len(prompts)} in all; split by arm"
        )
    bos = model.tokenizer.bos_token
    inputs = model.processor(
        text=texts,
        **({"images": pictures} if pictures else {}),
        padding=True,
        return_tensors="pt",
        # A template that writes the beginning-of-sequence token itself must not get a second one.
        add_special_tokens=not (bos and texts[0].startswith(bos)),
    )
    tensors = {name: value.to(model.device) for name, value in inputs.items() if isinstance(value, Tensor)}
    shown = tuple(picture.sha256 for prompt in prompts for picture in prompt.pictures)
    return Batch(tensors, tuple(rows), getattr(model.hf.config, "image_token_id", None), shown)


def describe(model: Model, prompt: Prompt, tail: int = 8) -> str:
    """Return the rendered prompt and its last tokens with their ids, for a person to check the template."""
    batch = collate(model, [prompt], [0])
    ids: list[Any] = batch.inputs["input_ids"][0, -tail:].tolist()
    tokens = model.tokenizer.convert_ids_to_tokens(ids)
    shown = " ".join(f"{token!r}:{number}" for token, number in zip(tokens, ids, strict=True))
    return f"{render(model, prompt)}\nlast tokens: {shown}"
