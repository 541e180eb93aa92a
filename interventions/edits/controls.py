"""Vectors as long as the drift that should not do what the drift does."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.states.activations import Activations


def random_orthogonal(drift: Drift, refusal: Direction, seed: int = 0) -> Drift:
    """Return random vectors orthogonal to the refusal direction, at each layer as long as the drift."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(drift.vectors.shape, generator=generator, dtype=torch.float64)
    drawn -= (drawn * refusal.vectors).sum(-1, keepdim=True) * refusal.vectors
    return replace(drift, vectors=_as_long_as(drift, drawn), part="random")


def shuffled_pairs(drift: Drift, text: Activations, image: Activations, seed: int = 0) -> Drift:
    """Return the drift of pairs of which a random half has its two arms swapped, at each layer as long as the drift.

    Pairing texts with other requests' images would leave the mean difference as it is; swapping the arms is the
    permutation under which "image" means nothing. Of each label exactly half is swapped, and one pair of an odd
    number left out, so that what all pairs share cancels instead of coming back with a random sign. Raises
    ValueError unless some label has two pairs.
    """
    text, image = text.aligned_with(image)
    generator = torch.Generator().manual_seed(seed)
    sign = _half_swapped(text.harmful, generator)[:, None]
    moved = [((image.at(i).double() - text.at(i).double()) * sign).mean(0) for i in text.layers]
    return replace(drift, vectors=_as_long_as(drift, torch.stack(moved)), part="shuffled")


def towards_refusal(drift: Drift, refusal: Direction) -> Drift:
    """Return minus the refusal direction, as long as the drift: removing it pushes every input to refusal."""
    return replace(drift, vectors=_as_long_as(drift, -refusal.vectors), part="refusal")


def _half_swapped(harmful: Bool[Tensor, " prompt"], generator: torch.Generator) -> Float[Tensor, " prompt"]:
    """1 for a random half of each label, -1 for the other half, 0 for the odd one out."""
    sign = torch.zeros(len(harmful), dtype=torch.float64)
    for mask in (harmful, ~harmful):
        members = mask.nonzero()[:, 0]
        members = members[torch.randperm(len(members), generator=generator)]
        half = len(members) // 2
        sign[members[:half]], sign[members[half : 2 * half]] = 1.0, -1.0
    if not bool(sign.any()):
        raise ValueError(f"{len(harmful)} shared pairs are too few to swap half of them; give two of a label")
    return sign


def _as_long_as(drift: Drift, vectors: Float[Tensor, "layer d_model"]) -> Float[Tensor, "layer d_model"]:
    return vectors * (drift.vectors.norm(dim=-1, keepdim=True) / vectors.norm(dim=-1, keepdim=True))
