"""From prompts to model inputs: chat template, images, left padding, and named token positions."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any, get_args

import torch
from jaxtyping import Bool
from torch import Tensor

from regap.errors import ModelError, PairError, first_line
from regap.geometry.data.pairs import Pairs, Prompt
from regap.geometry.data.plain_pictures import with_plain_pictures
from regap.geometry.models.model import Model
from regap.geometry.prompts.chat import TokenRole, render, spans
from regap.geometry.prompts.chosen_tokens import one_each
from regap.geometry.prompts.positions import Position, Positions


def token_roles(
    model: Model, prompts: Sequence[Prompt], ids: Tensor, real: Bool[Tensor, "prompt token"]
) -> dict[TokenRole, Bool[Tensor, "prompt token"]]:
    """Return which tokens belong to each role.

    The tokenizer gives the characters of each token of the rendered text; these tokens are then aligned with the
    processor's, which also has tokens of its own, such as image patches. A token that holds both message and template
    counts as the message. Raises ModelError for a tokenizer without offsets.
    """
    if not getattr(model.tokenizer, "is_fast", False):
        raise ModelError(
            f"model {model.name}: its tokenizer does not say which characters its tokens stand for; "
            "use positions last, image, audio or all, or a fast tokenizer"
        )
    found: dict[TokenRole, Tensor] = {who: torch.zeros_like(real) for who in get_args(TokenRole)}
    for row, prompt in enumerate(prompts):
        columns = real[row].nonzero()[:, 0].tolist()
        for token, who in _alone_to_whole(model, prompt, ids[row, columns].tolist()):
            found[who][row, columns[token]] = True
    return found


def _alone_to_whole(model: Model, prompt: Prompt, whole: list[int]) -> list[tuple[int, TokenRole]]:
    """Return the tokens of the processed prompt that belong to a message, with their roles."""
    text = render(model, prompt)
    with model.tokenizing:
        encoded = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    said: dict[int, TokenRole] = {
        token: span.role
        for token, (start, end) in enumerate(encoded["offset_mapping"])
        for span in spans(model, prompt)
        if max(start, span.start) < min(end, span.end)
    }
    alike = SequenceMatcher(None, encoded["input_ids"], whole, autojunk=False).get_matching_blocks()
    return [
        (block.b + step, said[block.a + step])
        for block in alike
        for step in range(block.size)
        if block.a + step in said
    ]


@dataclass(frozen=True, eq=False)
class Batch:
    """Left-padded inputs of a few prompts: the last column is every prompt's last token."""

    inputs: Mapping[str, Tensor] = field(repr=False)
    """Everything the processor returned, on the model's device."""
    rows: tuple[int, ...]
    """Indices of these prompts in the list that was batched."""
    image_token: int | None = None
    """The token id of image patches, None if the model has none."""
    audio_token: int | None = None
    """The token id of sounds, None if the model has none."""
    pictures: tuple[str, ...] = ()
    """Digests of the pictures, prompt after prompt; empty if not known."""
    sounds: tuple[str, ...] = ()
    """Digests of the sounds, prompt after prompt; empty if not known."""
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    """Prefixes of this batch that have been run, by model; later passes start from them."""
    tell: Callable[[], dict[TokenRole, Tensor]] | None = field(default=None, repr=False)
    """Returns the tokens of each role, when needed; None if roles are not known."""
    blanked: "Callable[[], Batch] | None" = field(default=None, repr=False)
    """Returns the same prompts with plain pictures, when needed; None if the prompts are not known."""

    def __post_init__(self) -> None:
        mask = self.inputs["attention_mask"]
        if not bool(mask[:, -1].all()):
            raise ModelError("the processor pads on the right; set processor.tokenizer.padding_side = 'left'")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> int:
        """Number of tokens of the prompts, padding included."""
        return self.inputs["attention_mask"].shape[1]

    @property
    def real(self) -> Bool[Tensor, "prompt token"]:
        """True at tokens of the prompt, False at padding."""
        return self.inputs["attention_mask"].bool()

    @property
    def image(self) -> Bool[Tensor, "prompt token"]:
        """True at tokens of image patches."""
        return self._of(self.image_token)

    @property
    def audio(self) -> Bool[Tensor, "prompt token"]:
        """True at tokens of sounds."""
        return self._of(self.audio_token)

    def _of(self, token: int | None) -> Bool[Tensor, "prompt token"]:
        return torch.zeros_like(self.real) if token is None else self.inputs["input_ids"] == token

    @property
    def request(self) -> Bool[Tensor, "prompt token"]:
        """True at tokens of the user's words; earlier turns are not included."""
        return self._spoken["user"]

    @property
    def user(self) -> Bool[Tensor, "prompt token"]:
        """True at tokens of everything that the user gave: words, images and sounds of the message."""
        return self.request | self.image | self.audio

    @property
    def template(self) -> Bool[Tensor, "prompt token"]:
        """True at tokens of the chat template and the processor: neither a message, an image nor a sound."""
        spoken = torch.stack(list(self._spoken.values())).any(0)
        return self.real & ~self.image & ~self.audio & ~spoken

    @property
    def earlier(self) -> Bool[Tensor, "prompt token"]:
        """True at tokens of earlier turns."""
        return self._spoken["earlier"]

    @property
    def after_instruction(self) -> Bool[Tensor, "prompt token"]:
        """True at every token after the user's message, images and sounds."""
        return self.real & (self.user.flip(-1).cumsum(-1).flip(-1) == 0)

    def at(self, positions: Positions) -> Bool[Tensor, "prompt token"]:
        """Return True at the position; raises ModelError if a prompt has no such token.

        It is no error that a prompt has no image or sound, unless one token of it is named. The tokens of a rule take a
        pass of the model: see `regap.geometry.forward.carriers.tokens_at`.
        """
        position = Position.of(positions)
        if position.rule:
            raise ModelError(f"position {positions} takes a pass of the model; find it with tokens_at")
        found = self._role(position)
        if position.index is not None:
            return one_each(found, position, self.rows)
        empty = (~found.any(1)).nonzero()[:, 0].tolist()
        if empty and not position.may_be_absent:
            raise ModelError(
                f"prompt {self.rows[empty[0]]} has no token at position {positions} with this chat template; "
                "choose other positions"
            )
        return found

    def _role(self, position: Position) -> Bool[Tensor, "prompt token"]:
        if position.role == "last":
            found = torch.zeros_like(self.real)
            found[:, -1] = True
            return found
        return self.real if position.role == "all" else getattr(self, position.role)

    @cached_property
    def _spoken(self) -> dict[TokenRole, Tensor]:
        if self.tell is None:
            raise ModelError("this batch was made without its prompts; make it with collate()")
        return self.tell()


def prompt_digest(rendered: str, prompt: Prompt) -> str:
    """Return a digest of what the model is shown: the rendered text and the bytes of images and sounds."""
    media = ",".join(each.sha256 for each in prompt.media)
    return hashlib.sha256(f"{rendered}\0{media}".encode()).hexdigest()


def collate(model: Model, prompts: Sequence[Prompt], rows: Sequence[int]) -> Batch:
    """Return one left-padded batch of these prompts; no prompt is truncated.

    Raises ModelError if the processor refuses them (some do not take prompts with and without images together) or the
    model takes no images or sounds, and PairError for a prompt or a sound longer than the model has positions.
    """
    inputs = _processed(model, prompts)
    batch = Batch(
        inputs,
        tuple(rows),
        model.image_token if model.sees_images else None,
        model.audio_token if model.hears else None,
        tuple(picture.sha256 for prompt in prompts for picture in prompt.pictures),
        tuple(sound.sha256 for prompt in prompts for sound in prompt.sounds),
        tell=lambda: token_roles(model, prompts, inputs["input_ids"], inputs["attention_mask"].bool()),
        blanked=lambda: collate(model, [with_plain_pictures(each) for each in prompts], rows),
    )
    lengths = batch.real.sum(1).tolist()
    longest = max(range(len(prompts)), key=lengths.__getitem__)
    if model.longest_prompt is not None and lengths[longest] > model.longest_prompt:
        raise PairError(
            f"prompt {rows[longest]} ({prompts[longest].text[:60]!r}) is {lengths[longest]} tokens long, and model "
            f"{model.name} reads at most {model.longest_prompt}; shorten it, or leave the pair out"
        )
    return batch


def inputs(model: Model, pairs: Pairs, arm: str) -> tuple[Tensor, dict[str, Any]]:
    """Return the token ids [prompt, token] of an arm's prompts, and the other outputs of the processor.

    TransformerLens' own calls take them: `ids, others = inputs(model, pairs, "image")`, then
    `model.bridge.run_with_cache(ids, **others)`. A call without one of them (attention mask, pixels, token types,
    image sizes) gives wrong results without an error. Prompts are padded on the left, so the last column holds their
    last tokens; `ids == model.image_token` is True at image tokens. Pairs without the arm are left out. Raises
    PairError if no pair has it.
    """
    prompts = [pair.prompts[arm] for pair in Pairs.of(pairs).where(arm=arm)]
    others: dict[str, Any] = dict(collate(model, prompts, range(len(prompts))).inputs)
    return others.pop("input_ids"), others


def _processed(model: Model, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
    texts = [render(model, prompt) for prompt in prompts]
    pictures = [[picture.open() for picture in prompt.pictures] for prompt in prompts]
    sounds = [sound.samples(model.sampling_rate) for prompt in prompts for sound in prompt.sounds]
    mixed = 0 < sum(bool(prompt.media) for prompt in prompts) < len(prompts)
    bos = model.tokenizer.bos_token
    # A template that writes the beginning-of-sequence token itself must not get a second one.
    options: dict[str, Any] = {"add_special_tokens": not (bos and texts[0].startswith(bos))}
    media: dict[str, Any] = {"images": pictures} if any(pictures) else {}
    media |= {"audio": sounds, "sampling_rate": model.sampling_rate} if sounds else {}
    try:
        with model.tokenizing:
            inputs = model.processor(
                text=texts, **media, padding=True, truncation=False, return_tensors="pt", **options
            )
    except (ValueError, TypeError, IndexError, KeyError) as error:
        remedy = (
            "give prompts with and without images or sounds apart"
            if mixed
            else "use other arms or another model"
        )
        raise ModelError(
            f"model {model.name}: its processor refuses the prompts ({first_line(error)}); {remedy}"
        ) from error
    if mixed:
        _check_words_alone(model, inputs, texts, [not prompt.media for prompt in prompts], options)
    found = {name: _placed(model, value) for name, value in inputs.items() if _is_input(name, value)}
    if model.takes_positions:
        found["position_ids"] = position_ids(found["attention_mask"])
    return found


def position_ids(mask: Tensor) -> Tensor:
    """Return the position of each token, padding not counted, as Hugging Face's generate makes them.

    A pass without them counts padding as tokens, which changes models with learned positions.
    """
    return (mask.long().cumsum(-1) - 1).clamp_min(0)


def _check_words_alone(
    model: Model, inputs: Any, texts: Sequence[str], alone: Sequence[bool], options: dict[str, Any]
) -> None:
    """Raise ModelError if a text-only prompt gets other tokens than on its own; some processors expect images."""
    row = alone.index(True)
    found = inputs["input_ids"][row][inputs["attention_mask"][row].bool()].tolist()
    with model.tokenizing:
        alone_ids = model.tokenizer(texts[row], **options)["input_ids"]
    if found != alone_ids:
        raise ModelError(
            f"model {model.name}: its processor changes prompts without an image or sound if others have one; "
            "give prompts with and without images or sounds apart"
        )


def _is_input(name: str, value: Any) -> bool:
    return isinstance(value, Tensor) and name != "labels"  # labels are not part of a prompt


def _placed(model: Model, value: Tensor) -> Tensor:
    return value.to(model.device, model.hf.dtype if value.is_floating_point() else value.dtype)


def describe(model: Model, prompt: Prompt, tail: int = 8) -> str:
    """Return the rendered prompt and its last tokens with their ids, to check the chat template by eye."""
    batch = collate(model, [prompt], [0])
    ids: list[Any] = batch.inputs["input_ids"][0, -tail:].tolist()
    tokens = model.tokenizer.convert_ids_to_tokens(ids)
    shown = " ".join(f"{token!r}:{number}" for token, number in zip(tokens, ids, strict=True))
    return f"{render(model, prompt)}\nlast tokens: {shown}"
