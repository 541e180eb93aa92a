"""Adding the refusal direction to every input (Arditi et al.)."""

from regap.interventions.fixed import Shift
from regap.interventions.methods.calibration import Calibration, Dose
from regap.interventions.methods.twins import layer_vectors
from regap.interventions.sites import Site


def refusal_addition(calibration: Calibration, site: Site) -> Dose:
    """Return h <- h + strength * (mean harmful - mean harmless), text states.

    Source: Arditi et al., arXiv 2406.11717, read in their code: there at one layer, at all positions, the direction
    chosen among layers and template tokens. Needs: texts. Assumed: the last prompt token and the strength as a
    free multiple, as for every method here.
    """
    vectors = layer_vectors([-calibration.text_gap(layer) for layer in site.layers])
    return lambda strength: [Shift(site, vectors, strength, "refusal")]
