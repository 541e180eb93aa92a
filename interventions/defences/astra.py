"""ASTRA's clamped steering: a state is moved against a direction in proportion to how far it lies along it."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from regap.interventions.defences.calibration import DefenceData, Dose, FittedRule
from regap.interventions.edits.displacement import Moved
from regap.interventions.edits.site import Site


@dataclass(frozen=True, eq=False)
class Clamped(FittedRule):
    """-unit * clip(cos(h - reference, v), 0, 1) * |h| * v/|v|."""

    vector: Float[Tensor, " d_model"] = field(repr=False)
    reference: Float[Tensor, " d_model"] = field(repr=False)
    unit: float
    """The displacement at strength 1, as a share of the length of the state."""

    def __call__(self, states: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """Return the clamped displacement of each state."""
        direction = (self.vector / self.vector.norm()).to(states)
        offset = states - self.reference.to(states)
        along = torch.nn.functional.cosine_similarity(offset, direction[None], dim=-1).clamp(0, 1)
        return -self.unit * (along * states.norm(dim=-1))[:, None] * direction


def astra(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * u * clip(cos(h - h_ref, v), 0, 1) * |h| * v/|v|.

    Source: ASTRA, arXiv 2411.16721, code read: last position of every step, one layer, v from attributions of
    adversarial images. Needs: no further pass. Assumed: v is the drift, since there are no adversarial images, and
    h_ref the mean text state; u = |D| / mean |h|, so that strength 1 moves a state that lies along v by |D|.
    """
    there = calibration.at(site)
    drift = there.drifts[there.image_arm]

    def clamped(layer: int) -> Clamped:
        vector, reference = drift.at(layer), drift.text_mean[drift.layers.index(layer)]
        length = float(there.image.at(layer).double().norm(dim=-1).mean())
        return Clamped(vector, reference, float(vector.norm()) / length)

    moves = [clamped(layer) for layer in site.layers]
    return lambda strength: [Moved(site, moves, strength)]
