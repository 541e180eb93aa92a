"""ShiftDC: remove the part of each input's own modality shift that lies along the safety axis."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from regap.geometry.states.store import digest_of_tensor
from regap.interventions.defences.calibration import DefenceData, Dose
from regap.interventions.edits.other_arm import OtherArmShift, layer_vectors
from regap.interventions.edits.site import Site


def shiftdc(calibration: DefenceData, site: Site, words: str = "caption") -> Dose:
    """Return h <- h - strength * proj_s(m(x)), m(x) = h(x) - h(x with a caption as picture), s the safety axis.

    Source: ShiftDC, arXiv 2502.13095, paper and code read: strength 1, last prompt token, prompt only, upper half of
    the layers, every correction computed from unedited states. Needs: a caption of each picture and a pass over it.
    Assumed: s is from our text arm; its sign does not matter. `words` names the arm with the caption.
    """
    axes = layer_vectors([calibration.refusal.at(layer) for layer in site.layers])
    arm = calibration.image_arm

    def rule(seen: Mapping[str, Tensor]) -> Tensor:
        return removed_projection(seen[arm], seen[words], axes)

    name = f"shiftdc {digest_of_tensor(axes)}"
    return lambda strength: [OtherArmShift(site, calibration.twins, (arm, words), rule, name, strength)]


def shiftdc_text(calibration: DefenceData, site: Site) -> Dose:
    """Return ShiftDC with a perfect caption, the text arm: an upper bound for captions that miss nothing."""
    return shiftdc(calibration, site, words="text")


def removed_projection(
    image: Float[Tensor, "prompt layer d_model"],
    words: Float[Tensor, "prompt layer d_model"],
    axes: Float[Tensor, "layer d_model"],
) -> Float[Tensor, "prompt layer d_model"]:
    """Return minus the projection of image - words on the unit axis of each layer."""
    return -((image - words) * axes).sum(-1, keepdim=True) * axes
