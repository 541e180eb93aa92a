"""MARS: image states are re-centred by neutral pictures, and those on the harmful side are moved to refusal."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.states.activations import label_means
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.defences.calibration import DefenceData, Dose
from regap.interventions.edits.displacement import Moved, on_device
from regap.interventions.edits.site import Site


@dataclass(frozen=True, eq=False)
class Recentred:
    """(z_H - t) * clip((z - t) / (z_H - t), 0, 1) * r, z = <h - c, r>."""

    refusal: Float[Tensor, " d_model"] = field(repr=False)
    centre: Float[Tensor, " d_model"] = field(repr=False)
    """c, the mean shift that neutral pictures cause."""
    threshold: float
    """t, the threshold between harmless and harmful texts."""
    harmful: float
    """z_H, the coordinate of the mean harmful text."""

    @property
    def identity(self) -> str:
        """Digest of vectors and coordinates."""
        vectors = digest_of_tensor(torch.stack([self.refusal, self.centre]))
        return digest_of([vectors, self.threshold, self.harmful])

    def __call__(self, states: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """Return the displacement of each state along the refusal direction; 0 on the harmless side."""
        direction, width = on_device(self.refusal, states), self.harmful - self.threshold
        z = (states - on_device(self.centre, states)) @ direction
        return width * ((z - self.threshold) / width).clamp(0, 1)[:, None] * direction


def mars(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h + strength * (z_H - t) * clip(ReLU(z - t) / (z_H - t), 0, 1) * r, z = <h - c, r>.

    c is the mean shift of neutral pictures from text. Source: MARS, arXiv 2606.31876, its abstract and a summary: text
    refusal direction, re-centring by pictures of random colours, a trust region from the distances to safe and unsafe
    centroids, a ReLU gate. Needs: a neutral arm on calibration pairs. Assumed: the formula; re-centring is used for
    reading only; the trust region is the distance from threshold to harmful centroid, times the strength.
    """
    text, neutral = calibration.text.aligned_with(calibration.states[calibration.neutral])
    means = label_means(calibration.text)["harmful"]

    def recentred(layer: int) -> Recentred:
        place, r = calibration.text.layers.index(layer), calibration.refusal.at(layer)
        centre = (neutral.at(layer).double() - text.at(layer).double()).mean(0)
        return Recentred(r, centre, float(calibration.refusal.thresholds[place]), float(means[place] @ r))

    moves = [recentred(layer) for layer in site.layers]
    return lambda strength: [Moved(site, moves, strength)]
