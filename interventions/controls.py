"""Vectors as long as the drift that should not do what the drift does."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.activations import Activations
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift


def random_orthogonal(drift: Drift, refusal: Direction, seed: int = 0) -> Drift:
    """Return random vectors orthogonal to the refusal direction, at each layer as long as the drift."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(drift.vectors.shape, generator=generator, dtype=torch.float64)
    drawn -= (drawn * refusal.vectors).sum(-1, keepdim=True) * refusal.vectors
    return replace(drift, vectors=_as_long_as(drift, drawn), part="random")


def shuffled_pairs(drift: Drift, text: Activations, image: Activations, seed: int = 0) -> Drift:
    """Return the drift of pairs whose two arms are swapped at random, at each layer as long as the drift.

    Pairing texts with other requests' images would leave the mean difference as it is; swapping the arms is the
    permutation under which "image" means nothing.
    """
    text, image = text.aligned_with(image)
    generator = torch.Generator().manual_seed(seed)
    sign = torch.randint(0, 2, (len(text), 1, 1), generator=generator).double() * 2 - 1
    difference = (image.residuals.double() - text.residuals.double()) * sign
    return replace(drift, vectors=_as_long_as(drift, difference.mean(0)), part="shuffled")


def towards_refusal(drift: Drift, refusal: Direction) -> Drift:
    """Return minus the refusal direction, as long as the drift: removing it pushes every input to refusal."""
    return replace(drift, vectors=_as_long_as(drift, -refusal.vectors), part="refusal")


def _as_long_as(drift: Drift, vectors: Float[Tensor, "layer d_model"]) -> Float[Tensor, "layer d_model"]:
    return vectors * (drift.vectors.norm(dim=-1, keepdim=True) / vectors.norm(dim=-1, keepdim=True))
