"""LEACE: the smallest change of states after which no linear function separates images from texts."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from regap.interventions.defences.calibration import DefenceData, Dose, FittedRule, mean_shifts, shift_dose
from regap.interventions.edits.displacement import Moved
from regap.interventions.edits.site import Site


@dataclass(frozen=True, eq=False)
class Erasure(FittedRule):
    """-write <read, h - mean>: an oblique projection of rank 1."""

    write: Float[Tensor, " d_model"] = field(repr=False)
    read: Float[Tensor, " d_model"] = field(repr=False)
    mean: Float[Tensor, " d_model"] = field(repr=False)

    def __call__(self, states: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """Return minus the linear information on modality in each state."""
        offset = states - self.mean.to(states)
        return -(offset @ self.read.to(states))[:, None] * self.write.to(states)


def leace(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * W^+ P W (h - mean), W = S^(-1/2), P the projection on W cov(h, modality).

    Source: LEACE, Belrose et al., arXiv 2306.03819, from memory: the closed form of the affine eraser, here for a
    concept with two values. Needs: texts and images of calibration pairs. Assumed: modality is the concept, with as
    many texts as images; if states do not span the space, nothing is moved out of their span.
    """
    there = calibration.at(site)
    text, image = there.text.aligned_with(there.image, between_positions=True)
    moves = [erasure(text.at(layer), image.at(layer)) for layer in site.layers]
    return lambda strength: [Moved(site, moves, strength)]


def erasure(
    text: Float[Tensor, "text d_model"], image: Float[Tensor, "image d_model"], cutoff: float = 1e-6
) -> Erasure:
    """Return the least-squares eraser of the set that a state is from; raises ValueError if the means coincide.

    From the singular values S of the centred states: W = V (sqrt(n) / S) V^T; those below cutoff times the largest are
    dropped.
    """
    states = torch.cat([text, image]).double()
    mean = states.mean(0)
    concept = torch.cat([torch.full((len(text),), -0.5), torch.full((len(image),), 0.5)]).double()
    concept = concept - concept.mean()
    _, lengths, axes = torch.linalg.svd(states - mean, full_matrices=False)
    kept = lengths > cutoff * lengths[0]
    axes, scale = axes[kept], lengths[kept] / len(states) ** 0.5
    covariance = (states - mean).T @ concept / len(states)
    whitened = (axes @ covariance) / scale
    if float(covariance.norm()) <= 1e-9 * float(states.norm()) / len(states):
        raise ValueError(
            "texts and images have the same mean, so there is no modality to erase; check the two arms"
        )
    unit = whitened / whitened.norm()
    return Erasure((unit * scale) @ axes, (unit / scale) @ axes, mean)


def mean_shift(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * (mean image - common mean), for image inputs.

    The simplest eraser of a concept: it makes the class means equal. With as many texts as images it removes half of
    the mean difference; strength 1 is our fixed correction at 0.5, except that labels are weighted by their counts.
    Needs: texts and images of calibration pairs.
    """
    there = calibration.at(site)
    shifts = mean_shifts(there.text, there.image, site.layers)
    dose = shift_dose(site, [each / 2 for each in shifts], "mean shift")
    return lambda strength: [dose(strength)]
