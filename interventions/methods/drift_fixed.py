"""Our fixed correction as one method among the others."""

from regap.interventions.fixed import fixed_correction
from regap.interventions.methods.calibration import Calibration, Dose
from regap.interventions.sites import Site


def drift_fixed(calibration: Calibration, site: Site) -> Dose:
    """Return h <- h - strength * D, the drift of the corrected arm; our operationalisation.

    Needs: texts and images of calibration pairs.
    """
    drift = calibration.drifts[calibration.image_arm]
    return lambda strength: [fixed_correction(drift, site, strength)]
