"""Adding the refusal direction to states, and removing it (Arditi et al.): a defence and an attack as control."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from regap.interventions.defences.calibration import DefenceData, Dose, FittedRule
from regap.interventions.edits.displacement import Moved
from regap.interventions.edits.site import Site


def refusal_addition(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h + strength * (mean harmful - mean harmless), means of text states.

    Source: Arditi et al., arXiv 2406.11717, code read: there at one layer, at all positions, with the direction chosen
    among layers and template tokens. Needs: texts. Assumed: the last prompt token, or image tokens with means
    of states read there, and a free strength.
    """
    dose = calibration.refusal_dose(site)
    return lambda strength: [dose(strength)]


@dataclass(frozen=True, eq=False)
class Removed(FittedRule):
    """-r<r, h>: minus the component along a unit vector."""

    direction: Float[Tensor, " d_model"] = field(repr=False)

    def __call__(self, states: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """Return minus the component of each state."""
        direction = self.direction.to(states)
        return -(states @ direction)[:, None] * direction


def refusal_ablation(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * r<r, h> at every layer of the site, r that of `read_layer`.

    Source: Arditi et al., arXiv 2406.11717, code read: there at strength 1, on the input of every block and the
    outputs of attention and MLP, at all positions. Needs: texts. Assumed: block outputs only.
    """
    removed = Removed(calibration.refusal.at(calibration.read_layer))
    return lambda strength: [Moved(site, [removed] * len(site.layers), strength)]
