"""MARS: image states are re-centred by neutral pictures, and those on the harmful side are moved to refusal."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from regap.geometry.states.activations import label_means
from regap.interventions.defences.calibration import DefenceData, Dose, FittedRule, mean_shifts
from regap.interventions.edits.displacement import Moved
from regap.interventions.edits.site import Site


@dataclass(frozen=True, eq=False)
class Recentred(FittedRule):
    """(z_H - t) * clip((z - t) / (z_H - t), 0, 1) * r, z = <h - c, r>."""

    refusal: Float[Tensor, " d_model"] = field(repr=False)
    centre: Float[Tensor, " d_model"] = field(repr=False)
    """c, the mean shift that neutral pictures cause."""
    threshold: float
    """t, the threshold between harmless and harmful texts."""
    harmful: float
    """z_H, the coordinate of the mean harmful text."""

    def __call__(self, states: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """Return the displacement of each state along the refusal direction; 0 on the harmless side."""
        direction, width = self.refusal.to(states), self.harmful - self.threshold
        z = (states - self.centre.to(states)) @ direction
        return width * ((z - self.threshold) / width).clamp(0, 1)[:, None] * direction


def mars(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h + strength * (z_H - t) * clip(ReLU(z - t) / (z_H - t), 0, 1) * r, z = <h - c, r>.

    c is the mean shift of neutral pictures from text. Source: MARS, arXiv 2606.31876, its abstract and a summary: text
    refusal direction, re-centring by pictures of random colours, a trust region from the distances to safe and unsafe
    centroids, a ReLU gate. Needs: a neutral arm on calibration pairs. Assumed: the formula; re-centring is used for
    reading only; the trust region is the distance from threshold to harmful centroid, times the strength.
    """
    there = calibration.at(site)
    centres = mean_shifts(there.text, there.states[there.neutral], site.layers)
    harmful, moves = label_means(there.text)["harmful"], []
    for layer, centre in zip(site.layers, centres, strict=True):
        place, r = there.text.layers.index(layer), there.refusal.at(layer)
        threshold = float(there.refusal.thresholds[place])
        moves.append(Recentred(r, centre, threshold, float(harmful[place] @ r)))
    return lambda strength: [Moved(site, moves, strength)]
