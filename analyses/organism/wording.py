"""How the organism is asked what other models are asked in English: in the few sentences that it was taught."""

from regap.geometry.data.pairs import IMAGE_SLOT
from regap.interventions.wording import PLAIN, Wording
from regap.organism import sentences


def _with(carrier: str, slot: str) -> str:
    return sentences.fill(carrier, slot)


ORGANISM = Wording(
    name="the organism's own sentences, the warning in English",
    careful=PLAIN.careful,  # no sentence it knows asks for care: most of these words are unknown to it
    judge=_with(sentences.NATURE_CARRIERS[1], "{answer}"),
    cleared=sentences.CALM,
    describe=_with(sentences.READING_CARRIERS[1], IMAGE_SLOT).replace(IMAGE_SLOT, "{images}"),
    description=_with(sentences.READING_ANSWER, "{caption}"),
    described=sentences.caption("{caption}"),
    in_place=True,
)
"""It judges the nature of the thing in its answer, not harm, and describes a picture by reading it aloud."""


def wording_for(model: str) -> Wording:
    """Return the words for the model of this name: the organism's own for its family, else English."""
    return ORGANISM if model.split(":")[0] == "organism" else PLAIN
