"""No defence: what every method is compared with."""

from collections.abc import Sequence

from regap.geometry.forward import Edit
from regap.interventions.methods.calibration import Calibration, Dose
from regap.interventions.sites import Site


def none(calibration: Calibration, site: Site) -> Dose:  # noqa: ARG001 - it is fitted on nothing
    """Return no edits at any strength: the model as it is."""

    def dose(strength: float) -> Sequence[Edit]:  # noqa: ARG001
        return []

    return dose
