"""Questions for the organism, in the few sentences that it was taught."""

from regap.geometry.data.pairs import IMAGE_SLOT
from regap.interventions.wording import PLAIN, Wording
from regap.organism import sentences


def _with(carrier: str, slot: str) -> str:
    return sentences.fill(carrier, slot)


ORGANISM = Wording(
    name="the organism's own sentences, the warning in English",
    careful=PLAIN.careful,  # it was taught no such sentence, and does not know most of these words
    judge=_with(sentences.NATURE_CARRIERS[1], "{answer}"),
    cleared=sentences.CALM,
    describe=_with(sentences.READING_CARRIERS[1], IMAGE_SLOT).replace(IMAGE_SLOT, "{images}"),
    description=_with(sentences.READING_ANSWER, "{caption}"),
    described=sentences.caption("{caption}"),
    in_place=True,
)
"""The organism judges the nature of the thing in its answer, not harm; it describes a picture by its text."""


def wording_for(model: str) -> Wording:
    """Return the wording for the model of this name: the organism's sentences for its family, else English."""
    return ORGANISM if model.split(":")[0] == "organism" else PLAIN
