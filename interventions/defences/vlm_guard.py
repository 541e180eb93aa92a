"""VLM-Guard: the state of a harmful text, projected on a safety subspace, is added to the image input."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.states.store import digest_of_tensor
from regap.interventions.defences.calibration import DefenceData, Dose
from regap.interventions.edits.other_arm import OtherArmShift
from regap.interventions.edits.site import Site

RANK = 4
"""Number of right singular vectors that span the subspace; the published number is not known to us."""


def vlm_guard(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h + strength * g * h(q) V^T V, g = 1 if h(q) V_1 > 0 else 0, q the request as text.

    V are the first right singular vectors of the rows harmful_i - harmless_i. Source: VLM-Guard, arXiv 2502.10486,
    from a report about the paper. Needs: a pass over the request as text. Assumed: RANK; texts of the two labels are
    paired in their order; V_1 points to harmful; the text of a picture is available, as its text arm.
    """
    harmful, harmless = (calibration.text.where(label=label) for label in ("harmful", "harmless"))
    bases = torch.stack([safety_basis(harmful.at(layer), harmless.at(layer)) for layer in site.layers])

    def rule(seen: Mapping[str, Tensor]) -> Tensor:
        return guarded(seen["text"], bases)

    name = f"vlm guard {digest_of_tensor(bases)}"
    return lambda strength: [OtherArmShift(site, calibration.twins, ("text",), rule, name, strength)]


def safety_basis(
    harmful: Float[Tensor, "harmful d_model"], harmless: Float[Tensor, "harmless d_model"], rank: int = RANK
) -> Float[Tensor, "rank d_model"]:
    """Return the first right singular vectors of the paired differences, the first pointing to harmful."""
    count = min(len(harmful), len(harmless))
    differences = harmful[:count].double() - harmless[:count].double()
    basis = torch.linalg.svd(differences, full_matrices=False).Vh[:rank].clone()
    if float((differences @ basis[0]).sum()) < 0:
        basis[0] = -basis[0]
    return basis.float()


def guarded(
    text: Float[Tensor, "prompt layer d_model"], bases: Float[Tensor, "layer rank d_model"]
) -> Float[Tensor, "prompt layer d_model"]:
    """Return the projection of the text state on the subspace if its first coordinate is above 0, else 0."""
    coordinates = torch.einsum("pld,lrd->plr", text, bases)
    is_open = (coordinates[..., :1] > 0).to(text)
    return is_open * torch.einsum("plr,lrd->pld", coordinates, bases)
