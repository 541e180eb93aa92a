"""The drift: how far, and which way, an image moves the residual stream of the same request."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.directions import Direction
from regap.geometry.states.activations import Activations, label_means


@dataclass(frozen=True, eq=False)
class Drift:
    """The mean displacement of image states from the text states of the same requests, at each layer."""

    vectors: Float[Tensor, "layer d_model"] = field(repr=False)
    """In the residual stream's own units, float64; points from text to image."""
    text_mean: Float[Tensor, "layer d_model"] = field(repr=False)
    """Mean text state of the same pairs: where the drift strength is 0."""
    layers: tuple[int, ...]
    """Which blocks' outputs, 0-based."""
    arm: str
    """The image arm."""
    part: str = "D"
    """D, D_along (the refusal direction) or D_across (it)."""

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

    def along(self, refusal: Direction) -> "Drift":
        """Return D_along, the part along the refusal direction."""
        component = (self.vectors * refusal.vectors).sum(-1, keepdim=True)
        return replace(self, vectors=component * refusal.vectors, part="D_along")

    def across(self, refusal: Direction) -> "Drift":
        """Return D_across, the part orthogonal to the refusal direction."""
        return replace(self, vectors=self.vectors - self.along(refusal).vectors, part="D_across")

    def strength(self, states: Activations) -> Float[Tensor, "prompt layer"]:
        """Return delta: 0 for the average text state, 1 for the average image state, linear between.

        delta_l(x) = <h_l(x) - mean text h_l, D/|D|> / |D|; our operationalisation.
        """
        if states.layers != self.layers:
            raise ValueError(
                f"states of layers {list(states.layers)} do not fit a drift of {list(self.layers)}"
            )
        found = torch.empty(len(states), len(self.layers), dtype=torch.float64)
        for part in states.parts():
            offset = part.residuals.double() - self.text_mean
            found[torch.from_numpy(part.rows)] = torch.einsum("pld,ld->pl", offset, self.vectors)
        return found / self.vectors.square().sum(-1)


def modality_drift(text: Activations, image: Activations) -> Drift:
    """Return the mean over pairs of image state minus text state, harmful and harmless weighted equally.

    Only pairs that both arms have count. Give it calibration splits; our operationalisation of the paper's
    drift direction. Raises PairError if no pair is shared.
    """
    text, image = text.aligned_with(image)
    text_mean = _balanced_mean(text)
    return Drift(_balanced_mean(image) - text_mean, text_mean, text.layers, image.arm)


def _balanced_mean(states: Activations) -> Float[Tensor, "layer d_model"]:
    """Mean of the two labels' means; of the one label's, if the other is absent."""
    return torch.stack(list(label_means(states).values())).mean(0)
