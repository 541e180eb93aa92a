"""Control vectors: as long as the drift, but without its expected effect."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.states.activations import Activations


def random_orthogonal(drift: Drift, refusal: Direction, seed: int = 0) -> Drift:
    """Return random vectors orthogonal to the refusal direction, as long as the drift at each layer."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(drift.vectors.shape, generator=generator, dtype=torch.float64)
    drawn -= (drawn * refusal.vectors).sum(-1, keepdim=True) * refusal.vectors
    return replace(drift, vectors=_as_long_as(drift, drawn), part="random")


def shuffled_pairs(drift: Drift, text: Activations, image: Activations, seed: int = 0) -> Drift:
    """Return the drift after swapping the two arms of a random half of the pairs, as long as the drift at each layer.

    Pairing texts with other requests' images would not change the mean difference; swapping arms removes the meaning
    of "image". Exactly half of each label is swapped (one pair of an odd number is left out), so that the part that
    all pairs share cancels. Raises ValueError unless some label has two pairs.
    """
    text, image = text.aligned_with(image)
    generator = torch.Generator().manual_seed(seed)
    sign = _half_swapped(text.harmful, generator)[:, None]
    moved = [((image.at(i).double() - text.at(i).double()) * sign).mean(0) for i in text.layers]
    return replace(drift, vectors=_as_long_as(drift, torch.stack(moved)), part="shuffled")


def towards_refusal(drift: Drift, refusal: Direction) -> Drift:
    """Return minus the refusal direction, as long as the drift; removing it moves every input towards refusal."""
    return replace(drift, vectors=_as_long_as(drift, -refusal.vectors), part="refusal")


def _half_swapped(harmful: Bool[Tensor, " prompt"], generator: torch.Generator) -> Float[Tensor, " prompt"]:
    """Return 1 for a random half of each label, -1 for the other half, 0 for one pair of an odd number."""
    sign = torch.zeros(len(harmful), dtype=torch.float64)
    for mask in (harmful, ~harmful):
        members = mask.nonzero()[:, 0]
        members = members[torch.randperm(len(members), generator=generator)]
        half = len(members) // 2
        sign[members[:half]], sign[members[half : 2 * half]] = 1.0, -1.0
    if not bool(sign.any()):
        raise ValueError(
            f"{len(harmful)} shared pairs are too few to swap half of them; give two pairs of a label"
        )
    return sign


def _as_long_as(drift: Drift, vectors: Float[Tensor, "layer d_model"]) -> Float[Tensor, "layer d_model"]:
    return vectors * (drift.vectors.norm(dim=-1, keepdim=True) / vectors.norm(dim=-1, keepdim=True))
