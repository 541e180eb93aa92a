"""CMRM: remove the shift that an empty picture makes, on average or for each input."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from regap.interventions.defences.calibration import DefenceData, Dose, mean_shifts, shift_dose
from regap.interventions.edits.other_arm import OtherArmShift
from regap.interventions.edits.site import Site


def cmrm_dataset(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * mean_i [h(x_i, empty picture) - h(x_i)].

    Source: CMRM, arXiv 2410.09047, from a report about the paper. Needs: the request with an empty picture, on
    calibration pairs only. Assumed: last prompt token, or image tokens with states read there; one layer, chosen as
    for all methods; pairs of both labels.
    """
    there = calibration.at(site)
    shifts = mean_shifts(there.text, there.states[there.neutral], site.layers)
    dose = shift_dose(site, shifts, "empty")
    return lambda strength: [dose(strength)]


def cmrm_sample(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * [h(x, empty picture) - h(x)], for each input x.

    Source: as above. Needs: two further passes per input, of its request with an empty picture and as text only.
    Assumed: the text of a request that is shown in a picture is available, as its text arm.
    """
    empty = calibration.neutral
    arms = (empty, "text")

    def rule(seen: Mapping[str, Tensor]) -> Tensor:
        return removed_shift(seen[empty], seen["text"])

    return lambda strength: [OtherArmShift(site, calibration.twins, arms, rule, "cmrm", strength)]


def removed_shift(
    empty: Float[Tensor, "prompt layer d_model"], text: Float[Tensor, "prompt layer d_model"]
) -> Float[Tensor, "prompt layer d_model"]:
    """Return h(x) - h(x, empty picture)."""
    return text - empty
