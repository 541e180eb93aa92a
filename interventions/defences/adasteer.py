"""AdaSteer: steering to refusal, and orthogonally to harmfulness, each with its own clipped line."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from regap.errors import PairError
from regap.geometry.states.activations import label_means
from regap.interventions.defences.calibration import DefenceData, Dose, FittedRule, shift_dose
from regap.interventions.edits.gate import budget_threshold
from regap.interventions.edits.shift import GatedShift
from regap.interventions.edits.site import Site


@dataclass(frozen=True, eq=False)
class ClippedLine(FittedRule):
    """clip(slope * (p - start), low, high), with p the position between the two anchors."""

    harmful: Float[Tensor, " d_model"] = field(repr=False)
    """The anchor at which p is 0."""
    harmless: Float[Tensor, " d_model"] = field(repr=False)
    """The anchor at which p is 100."""
    slope: float
    start: float
    low: float
    high: float

    def __call__(self, states: Float[Tensor, "prompt 1 d_model"]) -> Float[Tensor, " prompt"]:
        """Return the coefficient of each prompt; negative coefficients push towards the harmful anchor."""
        at = position(states[:, 0], self.harmful, self.harmless)
        return (self.slope * (at - self.start)).clamp(self.low, self.high)


def adasteer(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h + strength * lambda(x) * v, v = mean harmless - mean harmful, lambda = clip(w (p - b), -1, 0).

    Source: AdaSteer, arXiv 2504.09466, code read: p = 100 <h - a, u> / |a' - a| along u from one anchor a to the other
    a'; two terms, at all layers and prompt positions, slopes, offsets and clips set by hand for each text model.
    Needs: one reading pass. Assumed: the refusal term only; anchors are the text means; b is set so that the line is
    negative for at most the given share of harmless calibration images, and it reaches -1 at the mean harmful one.
    """
    place = calibration.text.layers.index(calibration.read_layer)
    means = label_means(calibration.text)
    anchors = means["harmful"][place], means["harmless"][place]
    rule = fitted_line(calibration, *anchors)
    there = calibration.at(site)
    gaps = shift_dose(site, [there.text_gap(layer) for layer in site.layers], "refusal")
    return lambda strength: [GatedShift(gaps(strength), (calibration.read_layer,), rule)]


def fitted_line(
    calibration: DefenceData, harmful: Float[Tensor, " d_model"], harmless: Float[Tensor, " d_model"]
) -> ClippedLine:
    """Return the line that is 0 for all but the given share of harmless images and -1 at the mean harmful image."""
    at = position(calibration.image.at(calibration.read_layer).double(), harmful, harmless)
    is_harmful = calibration.image.harmful
    start = -budget_threshold(-at[~is_harmful], calibration.false_refusals)
    width = start - float(at[is_harmful].mean())
    width = width if width > 0 else max(float(at.std()), 1e-9)  # the classes are in reverse order
    return ClippedLine(harmful, harmless, slope=1 / width, start=start, low=-1.0, high=0.0)


def position(
    states: Float[Tensor, "prompt d_model"],
    harmful: Float[Tensor, " d_model"],
    harmless: Float[Tensor, " d_model"],
) -> Float[Tensor, " prompt"]:
    """Return p: 0 at the harmful anchor, 100 at the harmless one, linear between and beyond."""
    axis = harmless - harmful
    return 100 * ((states - harmful) @ axis) / axis.square().sum()


def adasteer_both(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h + strength * (lambda_r(x) * v + lambda_c(x) * w), v as in `adasteer`, w orthogonal to v.

    w is the part, orthogonal to v, of mean harmless - mean harmful among images that the model *answers*, so that it
    shows harm that the model does not refuse. lambda_c = clip(w' (p' - b'), -1, 0), p' the position between those two
    means. Source: AdaSteer, arXiv 2504.09466, code read: the second direction contrasts harmful inputs with harmless
    ones that look harmful and is made orthogonal to the first; lambda_c has its own slope, offset and clip for each
    text model. Needs: one reading pass; which calibration images are refused. Assumed: both are read at `read_layer`;
    the line is fitted as in the first term. Raises PairError if the model answers no harmful image, or no harmless
    one.
    """
    read = calibration.read_layer
    rule = fitted_line(calibration, *answered_means(calibration, read))
    vectors = []
    for layer in site.layers:
        harmful, harmless = answered_means(calibration, layer)
        vectors.append(across(harmful - harmless, calibration.text_gap(layer)))
    refusal, harm = adasteer(calibration, site), shift_dose(site, vectors, "harmfulness")
    return lambda strength: [*refusal(strength), GatedShift(harm(strength), (read,), rule)]


def answered_means(
    calibration: DefenceData, layer: int
) -> tuple[Float[Tensor, " d_model"], Float[Tensor, " d_model"]]:
    """Return the mean state of harmful and of harmless images that the model answers, after a block, float64.

    Raises PairError if all images of a label are refused.
    """
    states, answered = calibration.image.at(layer).double(), calibration.answered
    harmful = calibration.image.harmful
    for label, of_label in (("harmful", harmful), ("harmless", ~harmful)):
        if not bool((of_label & answered).any()):
            raise PairError(
                f"all {int(of_label.sum())} {label} calibration images in arm {calibration.image_arm} are refused and "
                "were dropped, so adasteer_both cannot be fitted; add pairs, choose another arm, or use adasteer"
            )
    return states[harmful & answered].mean(0), states[~harmful & answered].mean(0)


def across(vector: Float[Tensor, " d_model"], other: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """Return the part of a vector orthogonal to another."""
    return vector - (vector @ other) / other.square().sum() * other
