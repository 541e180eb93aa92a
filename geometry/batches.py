"""How prompts become model inputs: chat template, images, left padding, batches of equal length."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
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
    before, slot, after = prompt.text.partition(IMAGE_SLOT)
    content = [{"type": "text", "text": before}] if before else []
    content += [{"type": "image"}] if slot else []
    content += [{"type": "text", "text": after}] if after else []
    conversation = [{"role": "user", "content": content}]
    return model.processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)


def prompt_digest(rendered: str, prompt: Prompt) -> str:
    """Return a digest of all that the model is shown: the rendered text and the image's bytes."""
    picture = prompt.picture.sha256 if prompt.picture else ""
    return hashlib.sha256(f"{rendered}\0{picture}".encode()).hexdigest()


def collate(model: Model, prompts: Sequence[Prompt], rows: Sequence[int]) -> Batch:
    """Return one left-padded batch of these prompts; all of them have a picture, or none has."""
    texts = [render(model, prompt) for prompt in prompts]
    pictures = [prompt.picture.open() for prompt in prompts if prompt.picture]
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
    return Batch(tensors, tuple(rows), getattr(model.hf.config, "image_token_id", None))


def batches(model: Model, prompts: Sequence[Prompt], size: int) -> Iterator[Batch]:
    """Yield batches of at most `size` prompts of about equal length, longest first; no prompt is cut.

    Longest first, so that a batch too large for the memory fails at once and not after an hour.
    """
    if size < 1:
        raise ModelError(f"batch size {size} is no batch; give at least 1")
    for rows in batch_rows(model, prompts, size):
        yield collate(model, [prompts[row] for row in rows], rows)


def batch_rows(model: Model, prompts: Sequence[Prompt], size: int) -> list[list[int]]:
    """Return which prompts go in which batch: sorted by length, pictures and words apart."""
    lengths = [_length(model, prompt) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda row: (prompts[row].picture is None, -lengths[row], row))
    groups: list[list[int]] = []
    for row in order:
        last = groups[-1] if groups else None
        if last and len(last) < size and (prompts[last[0]].picture is None) == (prompts[row].picture is None):
            last.append(row)
        else:
            groups.append([row])
    return groups


def _length(model: Model, prompt: Prompt) -> int:
    return len(model.tokenizer(render(model, prompt), add_special_tokens=False)["input_ids"])


def describe(model: Model, prompt: Prompt, tail: int = 8) -> str:
    """Return the rendered prompt and its last tokens with their ids, for a person to check the template."""
    batch = collate(model, [prompt], [0])
    ids: list[Any] = batch.inputs["input_ids"][0, -tail:].tolist()
    tokens = model.tokenizer.convert_ids_to_tokens(ids)
    shown = " ".join(f"{token!r}:{number}" for token, number in zip(tokens, ids, strict=True))
    return f"{render(model, prompt)}\nlast tokens: {shown}"
