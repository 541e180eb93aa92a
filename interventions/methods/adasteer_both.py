"""AdaSteer with both terms: to refusal, and across it to where the model sees harm in what it answers."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from regap.geometry.forward import Edit
from regap.geometry.pairs import PairError
from regap.interventions.fixed import Shift
from regap.interventions.methods.adasteer import adasteer, fitted_line
from regap.interventions.methods.calibration import Calibration, Dose
from regap.interventions.methods.read_first import ReadFirst
from regap.interventions.methods.twins import layer_vectors
from regap.interventions.sites import Site


def adasteer_both(calibration: Calibration, site: Site) -> Dose:
    """Return h <- h + strength * (lambda_r(x) * v + lambda_c(x) * w), v as in `adasteer`, w across v.

    w is the part orthogonal to v of mean harmless - mean harmful among images that the model *answers*: harm that it
    does not refuse. lambda_c = clip(w' (p' - b'), -1, 0), p' the position between those two means. Source: AdaSteer,
    arXiv 2504.09466, code read: the second direction contrasts harmful inputs with harmless ones that look harmful and
    is projected off the first; lambda_c has a slope, offset and clip of its own for each text model. Needs: one
    reading pass; which calibration images are refused. Assumed: both read at `read_layer`; the rule of the line as in
    the first term. Raises PairError if the model answers no harmful image, or no harmless one.
    """
    read = calibration.read_layer
    rule = fitted_line(calibration, *answered_means(calibration, read))
    vectors = []
    for layer in site.layers:
        means = answered_means(calibration, layer)
        vectors.append(across(means.harmful - means.harmless, calibration.text_gap(layer)))
    refusal, harm = adasteer(calibration, site), layer_vectors(vectors)

    def dose(strength: float) -> Sequence[Edit]:
        return [*refusal(strength), ReadFirst(Shift(site, harm, strength, "harmfulness"), (read,), rule)]

    return dose


class AnsweredMeans(NamedTuple):
    """Mean states of images that the model answers, float64."""

    harmful: Float[Tensor, " d_model"]
    harmless: Float[Tensor, " d_model"]


def answered_means(calibration: Calibration, layer: int) -> AnsweredMeans:
    """Return the mean state after a block of the answered images of each label; raises PairError if one has none."""
    states, harmful, answered = (
        calibration.image.at(layer).double(),
        calibration.image.harmful,
        calibration.answered,
    )
    for label, of_label in (("harmful", harmful), ("harmless", ~harmful)):
        if not bool((of_label & answered).any()):
            raise PairError(
                f"all {int(of_label.sum())} {label} calibration images in arm {calibration.image_arm} are refused and "
                "were dropped, so that adasteer_both has none to fit on; add pairs, choose another arm, or use adasteer"
            )
    return AnsweredMeans(states[harmful & answered].mean(0), states[~harmful & answered].mean(0))


def across(vector: Float[Tensor, " d_model"], other: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """Return the part of a vector orthogonal to another."""
    return vector - (vector @ other) / other.square().sum() * other
