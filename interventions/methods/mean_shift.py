"""Mean-shift erasure of modality: images and texts are moved to one common mean."""

from regap.interventions.fixed import Shift
from regap.interventions.methods.calibration import Calibration, Dose
from regap.interventions.methods.twins import layer_vectors
from regap.interventions.sites import Site


def mean_shift(calibration: Calibration, site: Site) -> Dose:
    """Return h <- h - strength * (mean image - common mean), for image inputs.

    The plainest eraser of a concept: it makes the class means equal and nothing else. With as many texts as images
    it removes half of the mean difference, so that at strength 1 it is our fixed correction at 0.5, labels weighted
    as they come. Needs: texts and images of calibration pairs.
    """
    text, image = calibration.text.aligned_with(calibration.image)
    vectors = layer_vectors(
        [(image.at(layer).double() - text.at(layer).double()).mean(0) / 2 for layer in site.layers]
    )
    return lambda strength: [Shift(site, vectors, strength, "mean shift")]
