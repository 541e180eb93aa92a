"""Taking the refusal direction out of every state (Arditi et al.): an attack, the control that points the other way."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from regap.geometry.store import digest_of_tensor
from regap.interventions.methods.calibration import Calibration, Dose
from regap.interventions.methods.displacement import Moved, on_device
from regap.interventions.sites import Site


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


def refusal_ablation(calibration: Calibration, site: Site) -> Dose:
    """Return h <- h - strength * r<r, h> at every layer of the site, r that of `read_layer`.

    Source: Arditi et al., arXiv 2406.11717, read in their code: there at strength 1, on the input of every block
    and the outputs of attention and MLP, at all positions. Needs: texts. Assumed: block outputs alone.
    """
    removed = Removed(calibration.refusal.at(calibration.read_layer))
    return lambda strength: [Moved(site, [removed] * len(site.layers), strength)]
