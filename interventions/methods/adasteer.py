"""AdaSteer's rule: how far an input is pushed to refusal falls in a clipped line with its place between anchors."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.activations import label_means
from regap.geometry.store import digest_of, digest_of_tensor
from regap.interventions.fixed import Shift
from regap.interventions.gates import budget_threshold
from regap.interventions.methods.calibration import Calibration, Dose
from regap.interventions.methods.read_first import ReadFirst
from regap.interventions.methods.twins import layer_vectors
from regap.interventions.sites import Site


@dataclass(frozen=True, eq=False)
class ClippedLine:
    """clip(slope * (p - start), low, high), p the position between the two anchors."""

    harmful: Float[Tensor, " d_model"] = field(repr=False)
    """Where p is 0."""
    harmless: Float[Tensor, " d_model"] = field(repr=False)
    """Where p is 100."""
    slope: float
    start: float
    low: float
    high: float

    @property
    def identity(self) -> str:
        """Digest of anchors and line."""
        anchors = digest_of_tensor(torch.stack([self.harmful, self.harmless]))
        return digest_of([anchors, self.slope, self.start, self.low, self.high])

    def __call__(self, states: Float[Tensor, "prompt 1 d_model"]) -> Float[Tensor, " prompt"]:
        """Return the coefficient of each prompt; negative ones push to the harmful anchor's side."""
        at = position(states[:, 0], self.harmful, self.harmless)
        return (self.slope * (at - self.start)).clamp(self.low, self.high)


def adasteer(calibration: Calibration, site: Site) -> Dose:
    """Return h <- h + strength * lambda(x) * v, v = mean harmless - mean harmful, lambda = clip(w (p - b), -1, 0).

    Source: AdaSteer, arXiv 2504.09466, code read: p = 100 <h - a, u> / |a' - a| along u from one anchor a to the other
    a'; two terms, at all layers and prompt positions, slopes, offsets and clips set by hand for each text model.
    Needs: one reading pass. Assumed: the refusal term alone; anchors are the text means; b lets through the stated
    share of harmless calibration images, and the line reaches -1 at the mean harmful one.
    """
    place = calibration.text.layers.index(calibration.read_layer)
    means = label_means(calibration.text)
    anchors = means["harmful"][place], means["harmless"][place]
    rule = fitted_line(calibration, *anchors)
    vectors = layer_vectors([calibration.text_gap(layer) for layer in site.layers])
    return lambda strength: [
        ReadFirst(Shift(site, vectors, strength, "refusal"), (calibration.read_layer,), rule)
    ]


def fitted_line(
    calibration: Calibration, harmful: Float[Tensor, " d_model"], harmless: Float[Tensor, " d_model"]
) -> ClippedLine:
    """Return the line that is 0 for all but the stated share of harmless images and -1 at the mean harmful one."""
    at = position(calibration.image.at(calibration.read_layer).double(), harmful, harmless)
    is_harmful = calibration.image.harmful
    start = -budget_threshold(-at[~is_harmful], calibration.false_refusals)
    width = start - float(at[is_harmful].mean())
    width = width if width > 0 else max(float(at.std()), 1e-9)  # the classes lie the wrong way about
    return ClippedLine(harmful, harmless, slope=1 / width, start=start, low=-1.0, high=0.0)


def position(
    states: Float[Tensor, "prompt d_model"],
    harmful: Float[Tensor, " d_model"],
    harmless: Float[Tensor, " d_model"],
) -> Float[Tensor, " prompt"]:
    """Return p: 0 at the harmful anchor, 100 at the harmless one, linear between and beyond."""
    axis = harmless - harmful
    return 100 * ((states - harmful) @ axis) / axis.square().sum()
