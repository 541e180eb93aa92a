"""The drift token by token: what moves the k-th token of an image, where one vector for all of them is too coarse."""

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.alignment import token_weights, tokens_of
from regap.geometry.states.activations import require_one_origin
from regap.geometry.states.token_states import Role, TokenStates

SHARE = 0.5
"""Smallest share of the prompts of each label that must have a k-th token, for its own mean to be taken."""


def drift_by_index(
    image: TokenStates, text: TokenStates, layer: int, role: Role = "image", paired: bool = True
) -> Float[Tensor, "index d_model"]:
    """Return the mean k-th token of the image minus the mean k-th token of the request in words, for every k.

    With `paired` False, minus the mean over all of the request's tokens. The last row is for all further tokens: the
    mean over all tokens minus the mean over all tokens. Labels weigh the same. Our operationalisation.
    """
    require_one_origin(text, image)
    count = max(len(each) for each in tokens_of(image, role, layer))
    source = means_by_index(image, role, layer, count)
    target = means_by_index(text, "request", layer, count)
    return source - (target if paired else target[-1:])


def means_by_index(states: TokenStates, role: Role, layer: int, count: int) -> Float[Tensor, "index d_model"]:
    """Return the mean k-th token of a role for k below `count`, and, as the last row, the mean over all tokens.

    The mean over all tokens also stands where fewer than half of the prompts of a label have a k-th token: requests
    differ in length, and a few long ones do not speak for all.
    """
    found = tokens_of(states, role, layer)
    harmful = torch.tensor([row.label == "harmful" for row in states.rows])
    counts = torch.tensor([len(each) for each in found])
    everything = token_weights(harmful, counts) @ torch.cat(found).double()
    rows = []
    for index in range(count):
        there = counts > index
        enough = all(
            float(there[mask].double().mean()) >= SHARE for mask in (harmful, ~harmful) if bool(mask.any())
        )
        rows.append(
            _mean_of([each[index] for each in found if len(each) > index], harmful[there])
            if enough
            else everything
        )
    return torch.stack([*rows, everything])


def _mean_of(states: list[Tensor], harmful: Tensor) -> Float[Tensor, " d_model"]:
    """Return the mean of one token a prompt, labels weighted equally."""
    one = torch.ones(len(harmful), dtype=torch.long)
    return token_weights(harmful, one) @ torch.stack(states).double()
