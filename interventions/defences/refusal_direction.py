"""Adding the refusal direction to states, and removing it (Arditi et al.): a defence and an attack as control."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from regap.geometry.states.store import digest_of_tensor
from regap.interventions.defences.calibration import DefenceData, Dose
from regap.interventions.edits.displacement import Moved, on_device
from regap.interventions.edits.other_arm import layer_vectors
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site


def refusal_addition(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h + strength * (mean harmful - mean harmless), means of text states.

    Source: Arditi et al., arXiv 2406.11717, code read: there at one layer, at all positions, with the direction chosen
    among layers and template tokens. Needs: texts. Assumed: the last prompt token and a free strength, as for every
    method here.
    """
    vectors = layer_vectors([-calibration.text_gap(layer) for layer in site.layers])
    return lambda strength: [Shift(site, vectors, strength, "refusal")]


@dataclass(frozen=True, eq=False)
class Removed:
    """-r<r, h>: minus the component along a unit vector."""

    direction: Float[Tensor, " d_model"] = field(repr=False)

    @property
    def identity(self) -> str:
        """Digest of the direction."""
        return digest_of_tensor(self.direction)

    def __call__(self, states: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """Return minus the component of each state."""
        direction = on_device(self.direction, states)
        return -(states @ direction)[:, None] * direction


def refusal_ablation(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * r<r, h> at every layer of the site, r that of `read_layer`.

    Source: Arditi et al., arXiv 2406.11717, code read: there at strength 1, on the input of every block and the
    outputs of attention and MLP, at all positions. Needs: texts. Assumed: block outputs only.
    """
    removed = Removed(calibration.refusal.at(calibration.read_layer))
    return lambda strength: [Moved(site, [removed] * len(site.layers), strength)]
