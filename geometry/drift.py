"""The drift: how an image moves the residual stream, compared with the same request as text; and control vectors."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import PairError
from regap.geometry.directions import Direction
from regap.geometry.states.activations import Activations, label_means, one_arm, require_one_origin
from regap.geometry.states.store import digest_of
from regap.geometry.states.vector_files import MORE, load_vectors, save_vectors


@dataclass(frozen=True, eq=False)
class Drift:
    """The mean displacement of image states from the text states of the same requests, at each layer."""

    vectors: Float[Tensor, "layer d_model"] = field(repr=False)
    """In units of the residual stream, float64; points from text to image."""
    text_mean: Float[Tensor, "layer d_model"] = field(repr=False)
    """Mean text state of the same pairs; the drift strength there is 0."""
    layers: tuple[int, ...]
    """Which blocks' outputs, 0-based."""
    arm: str
    """The image arm."""
    part: str = "D"
    """D, D_along (its part along the refusal direction) or D_across (the rest)."""
    model: str = ""
    """Fingerprint of the model whose states it was fitted on; empty if not known."""
    position: str = "last"
    """The token at which the image states were read; a mean over tokens, unless it is the last one."""
    text_position: str = ""
    """The token at which the text states were read; empty: the same."""
    pairs: str = ""
    """Digest of the names of the pairs that it was fitted on; empty if not known."""

    def __post_init__(self) -> None:
        if self.vectors.shape != self.text_mean.shape or len(self.vectors) != len(self.layers):
            raise ValueError(
                f"drift of shape {tuple(self.vectors.shape)} does not fit {len(self.layers)} layers"
            )

    def at(self, layer: int) -> Float[Tensor, " d_model"]:
        """Return the drift after block `layer`."""
        if layer not in self.layers:
            raise ValueError(f"layer {layer} has no drift; there are {list(self.layers)}")
        return self.vectors[self.layers.index(layer)]

    def save(self, path: str | Path) -> Path:
        """Write the drift to one safetensors file, which `load_drift` reads back bit for bit."""
        tensors = {"vectors": self.vectors, "text_mean": self.text_mean}
        more = {name: getattr(self, name) for name in MORE["drift"]}
        return save_vectors(path, "drift", self, tensors, **more)

    def along(self, refusal: Direction) -> "Drift":
        """Return D_along, the part along the refusal direction; raises PairError for a direction of another model."""
        require_one_origin(self, refusal)
        component = (self.vectors * refusal.vectors).sum(-1, keepdim=True)
        return replace(self, vectors=component * refusal.vectors, part="D_along")

    def across(self, refusal: Direction) -> "Drift":
        """Return D_across, the part orthogonal to the refusal direction."""
        return replace(self, vectors=self.vectors - self.along(refusal).vectors, part="D_across")

    def strength(self, states: Activations) -> Float[Tensor, "prompt layer"]:
        """Return delta: 0 for the average text state, 1 for the average image state, linear between.

        delta_l(x) = <h_l(x) - mean text h_l, D/|D|> / |D|; our operationalisation.
        """
        require_one_origin(self, states)
        found = torch.empty(len(states), len(self.layers), dtype=torch.float64)
        for part in states.parts():
            offset = part.residuals.double() - self.text_mean
            found[torch.from_numpy(part.rows)] = torch.einsum("pld,ld->pl", offset, self.vectors)
        return found / self._squared_length()

    def strength_of(self, states: Float[Tensor, "row d_model"], layer: int) -> Float[Tensor, " row"]:
        """Return delta of states after block `layer`, float64."""
        place = self.layers.index(layer)
        offset = states.double() - self.text_mean[place]
        return offset @ self.at(layer) / self._squared_length()[place]

    def _squared_length(self) -> Float[Tensor, " layer"]:
        found = self.vectors.square().sum(-1)
        zero = [layer for layer, length in zip(self.layers, found.tolist(), strict=True) if length == 0]
        if zero:
            raise PairError(
                f"the drift of arm {self.arm} is zero after block {zero[0]}: its prompts and those of the text arm "
                "have the same states; give an arm with images, or leave this one out"
            )
        return found


def load_drift(path: str | Path) -> Drift:
    """Return the drift that `Drift.save` wrote; raises StoreError for a missing, damaged or other file."""
    tensors, origin = load_vectors(path, "drift")
    return Drift(tensors["vectors"], tensors["text_mean"], **origin)


def modality_drift(text: Activations, image: Activations) -> Drift:
    """Return the mean over pairs of image state minus text state, harmful and harmless weighted equally.

    States of two positions give a drift between token roles: with text states of the `request` and image states of the
    `image`, it is the mean of the image tokens minus the mean of the request's own tokens, and is removed at
    positions="image". Only pairs with both arms are used. Give it calibration splits; our operationalisation of the
    paper's drift direction. Raises PairError if no pair is shared, or if models or layers differ.
    """
    text, image = one_arm(text, "text"), one_arm(image, "image")
    text, image = text.aligned_with(image, between_positions=True)
    text_mean = _balanced_mean(text)
    elsewhere = "" if text.position == image.position else text.position
    vectors, pairs = _balanced_mean(image) - text_mean, digest_of(list(text.pair_ids))
    return Drift(
        vectors,
        text_mean,
        text.layers,
        image.arm,
        model=text.model,
        position=image.position,
        text_position=elsewhere,
        pairs=pairs,
    )


def _balanced_mean(states: Activations) -> Float[Tensor, "layer d_model"]:
    """Return the mean of the two labels' means; if one label is absent, the mean of the other."""
    return torch.stack(list(label_means(states).values())).mean(0)


def random_orthogonal(drift: Drift, refusal: Direction, seed: int = 0) -> Drift:
    """Return random vectors orthogonal to the refusal direction, as long as the drift at each layer."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(drift.vectors.shape, generator=generator, dtype=torch.float64)
    drawn -= (drawn * refusal.vectors).sum(-1, keepdim=True) * refusal.vectors
    return replace(drift, vectors=_as_long_as(drift, drawn), part="random")


def random_vectors(drift: Drift, refusal: Direction, count: int, seed: int = 0) -> list[Drift]:
    """Return `count` controls of `random_orthogonal`, of the seeds from `seed` on."""
    return [random_orthogonal(drift, refusal, seed + number) for number in range(count)]


def shuffled_pairs(drift: Drift, text: Activations, image: Activations, seed: int = 0) -> Drift:
    """Return the drift after swapping the two arms of a random half of the pairs, as long as the drift at each layer.

    Pairing texts with other requests' images would not change the mean difference; swapping arms removes the meaning
    of "image". Exactly half of each label is swapped (one pair of an odd number is left out), so that the part that
    all pairs share cancels. Raises ValueError unless some label has two pairs.
    """
    text, image = text.aligned_with(image, between_positions=True)
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
