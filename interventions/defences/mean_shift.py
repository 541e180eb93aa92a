"""Mean-shift erasure of modality: images and texts are moved to a common mean."""

from regap.interventions.defences.calibration import DefenceData, Dose
from regap.interventions.edits.other_arm import layer_vectors
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site


def mean_shift(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * (mean image - common mean), for image inputs.

    The simplest eraser of a concept: it makes the class means equal. With as many texts as images it removes half of
    the mean difference; strength 1 is our fixed correction at 0.5, except that labels are weighted by their counts.
    Needs: texts and images of calibration pairs.
    """
    text, image = calibration.text.aligned_with(calibration.image)
    vectors = layer_vectors(
        [(image.at(layer).double() - text.at(layer).double()).mean(0) / 2 for layer in site.layers]
    )
    return lambda strength: [Shift(site, vectors, strength, "mean shift")]
