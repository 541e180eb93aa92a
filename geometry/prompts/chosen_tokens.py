"""Some of the tokens of a role: one by its place, or a share by scores."""

import torch
from jaxtyping import Bool
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.prompts.positions import Position


def kth(tokens: Bool[Tensor, "prompt token"], index: int) -> Bool[Tensor, "prompt token"]:
    """Return only the `index`-th marked token of each prompt, from its end if negative; none where there are fewer."""
    place, count = tokens.long().cumsum(1) - 1, tokens.long().sum(1, keepdim=True)
    return tokens & (place == (index if index >= 0 else count + index))


def one_each(
    tokens: Bool[Tensor, "prompt token"], position: Position, rows: tuple[int, ...]
) -> Bool[Tensor, "prompt token"]:
    """Return the token of the position in each prompt, out of those of its role.

    Raises ModelError, with the prompt and the number of its tokens, if a prompt has too few.
    """
    assert position.index is not None
    found = kth(tokens, position.index)
    short = (~found.any(1)).nonzero()[:, 0].tolist()
    if short:
        count = int(tokens[short[0]].sum())
        raise ModelError(
            f"prompt {rows[short[0]]} has no token {position}: it has {count} {'token' if count == 1 else 'tokens'} of "
            f"role {position.role}; choose another position, or leave the prompt out"
        )
    return found


def strongest(
    scores: Tensor, tokens: Bool[Tensor, "prompt token"], share: float
) -> Bool[Tensor, "prompt token"]:
    """Return this share of the marked tokens of each prompt, rounded up: those with the highest scores [prompt, token].

    Of equal scores the earlier token comes first.
    """
    ranked = scores.double().masked_fill(~tokens, -torch.inf).argsort(dim=1, descending=True, stable=True)
    wanted = (tokens.sum(1, keepdim=True) * share).ceil()
    among = torch.arange(tokens.shape[1], device=tokens.device) < wanted
    return torch.zeros_like(tokens).scatter(1, ranked, among) & tokens
