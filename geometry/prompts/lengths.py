"""The number of tokens of prompts, counted before any picture or sound is decoded."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from regap.geometry.data.pairs import Picture, Prompt
from regap.geometry.data.sounds import Sound
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import render

AT_ONCE = 1024
"""Most prompts tokenised together."""
TOKENS_A_SECOND = 25
"""Tokens of a second of sound where the processor does not say; most of these models make fewer."""


def prompt_lengths(model: Model, prompts: Sequence[Prompt]) -> list[int]:
    """Return the number of tokens of each prompt after the chat template, image tokens included.

    If the processor does not say how many tokens a picture takes, the picture counts as one; a second of sound then
    counts as TOKENS_A_SECOND.
    """
    sizes = [picture_size(picture) for prompt in prompts for picture in prompt.pictures]
    pictures = iter(image_tokens(model.processor, sizes))
    found: list[int] = []
    for start in range(0, len(prompts), AT_ONCE):
        some = prompts[start : start + AT_ONCE]
        texts = [render(model, prompt) for prompt in some]
        with model.tokenizing:
            words = model.tokenizer(texts, add_special_tokens=False)["input_ids"]
        for prompt, ids in zip(some, words, strict=True):
            media = [next(pictures) for _ in prompt.pictures] + [
                sound_tokens(model, each) for each in prompt.sounds
            ]
            found.append(len(ids) + sum(each - 1 for each in media))
    return found


def sound_tokens(model: Model, sound: Sound) -> int:
    """Return the number of tokens of a sound: by the processor's count, or by its length."""
    count = getattr(model.processor, "_get_num_multimodal_tokens", None)
    try:
        length = ceil(sound.seconds * model.sampling_rate)
        return int(count(audio_lengths=[length])["num_audio_tokens"][0])  # type: ignore[misc]
    except (AttributeError, KeyError, TypeError, NotImplementedError):
        return ceil(sound.seconds * TOKENS_A_SECOND)


def image_tokens(processor: Any, sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Return the number of tokens of pictures of these heights and widths, by the processor's count; 1 if unknown."""
    if not sizes:
        return []
    count = getattr(processor, "_get_num_multimodal_tokens", None)
    try:
        # All processors take a single size; equal sizes are counted once.
        once = (
            {size: int(count(image_sizes=[size])["num_image_tokens"][0]) for size in set(sizes)}
            if count
            else {}
        )
    except (AttributeError, KeyError, TypeError, NotImplementedError):
        once = {}
    return [once.get(size, 1) for size in sizes]


def picture_size(picture: Picture) -> tuple[int, int]:
    """Return height and width of the upright picture, which is what the processor gets."""
    width, height = picture.size
    return height, width
