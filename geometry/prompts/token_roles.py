"""Whose words each token of a batch is: the user's, the system's, those of earlier turns, or the template's."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import get_args

import torch
from jaxtyping import Bool
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.data.pairs import Prompt
from regap.geometry.models.model import Model
from regap.geometry.prompts.chat import TokenRole, render, spans


def token_roles(
    model: Model, prompts: Sequence[Prompt], ids: Tensor, real: Bool[Tensor, "prompt token"]
) -> dict[TokenRole, Bool[Tensor, "prompt token"]]:
    """Return which tokens hold words of each speaker.

    The rendered text is read by the tokenizer alone, which says what characters each token stands for, and laid
    beside what the processor made of it: what the processor put in, the patches of an image above all, is nobody's
    words. A token that holds part of a word and part of the template counts as the word's.
    """
    if not getattr(model.tokenizer, "is_fast", False):
        raise ModelError(
            f"model {model.name}: its tokenizer does not say which characters its tokens stand for; "
            "use positions last, image or all, or a fast tokenizer"
        )
    found: dict[TokenRole, Tensor] = {who: torch.zeros_like(real) for who in get_args(TokenRole)}
    for row, prompt in enumerate(prompts):
        columns = real[row].nonzero()[:, 0].tolist()
        for token, who in _alone_to_whole(model, prompt, ids[row, columns].tolist()):
            found[who][row, columns[token]] = True
    return found


def _alone_to_whole(model: Model, prompt: Prompt, whole: list[int]) -> list[tuple[int, TokenRole]]:
    """Return the tokens of the processed prompt that somebody said, and who."""
    encoded = model.tokenizer(render(model, prompt), add_special_tokens=False, return_offsets_mapping=True)
    said: dict[int, TokenRole] = {
        token: span.speaker
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
