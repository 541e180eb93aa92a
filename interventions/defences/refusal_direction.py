"""Taking the refusal direction out of every state (Arditi et al.): an attack, the control that points the other way."""

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
    """Return h <- h + strength * (mean harmful - mean harmless), text states.

    Source: Arditi et al., arXiv 2406.11717, read in their code: there at one layer, at all positions, the direction
    chosen among layers and template tokens. Needs: texts. Assumed: the last prompt token and the strength as a
    free multiple, as for every method here.
    """
    vectors = layer_vectors([-calibration.text_gap(layer) for layer in site.layers])
    return lambda strength: [Shift(site, vectors, strength, "refusal")]


@dataclass(frozen=True, eq=False)
class Removed:
    """-r<r, h>: the component along a unit vector, taken away."""

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

    Source: Arditi et al., arXiv 2406.11717, read in their code: there at strength 1, on the input of every block
    and the outputs of attention and MLP, at all positions. Needs: texts. Assumed: block outputs alone.
    """
    removed = Removed(calibration.refusal.at(calibration.read_layer))
    return lambda strength: [Moved(site, [removed] * len(site.layers), strength)]
