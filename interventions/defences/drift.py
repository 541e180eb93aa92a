"""The fixed correction and ReGap as methods of the comparison."""

from dataclasses import replace

from regap.interventions.defences.calibration import DefenceData, Dose
from regap.interventions.edits.regap import calibrate_regap
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.site import Site


def drift_fixed(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * D, the drift of the corrected arm; our operationalisation.

    Needs: texts and images of calibration pairs.
    """
    drift = calibration.drifts[calibration.image_arm]
    return lambda strength: [fixed_correction(drift, site, strength)]


def drift_adaptive(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * gate(rho(x)) * D, rho the self-rectification of x; our operationalisation.

    Source: the abstract of arXiv 2605.18104 names the mechanism, not a formula. Needs: two readings of the last
    token, without and with a probe.
    """
    drift = calibration.drifts[calibration.image_arm]
    regap = calibrate_regap(
        calibration.runner,
        calibration.pairs,
        calibration.refusal,
        drift,
        site.layers,
        positions=site.positions,
        phase=site.phase,
        norm=site.norm,
        strongest=1.0,
        false_refusals=calibration.false_refusals,
    )
    return lambda strength: [replace(regap, strongest=strength)]
