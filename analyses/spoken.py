"""Sentences about images in the words of the arm that a run corrects: for speech they name no image."""

import re

from regap.geometry.data.pairs import is_speech_arm

_WORDS = (
    (r"\b[Tt]he same requests as (\w+) images\b", r"the same requests as \1"),
    (r"\bImages\b", "Spoken requests"),
    (r"(?<!blank )(?<!noise )\bimages\b", "spoken requests"),
    (r"\bimage prompts\b", "spoken prompts"),
    (r"(?<!blank )(?<!noise )(?<!-)\bimage\b", "speech"),
)


def in_words_of(arm: str | None, told: str) -> str:
    """Return a sentence about images as one about speech if the arm is one of speech, else unchanged."""
    if arm is None or not is_speech_arm(arm):
        return told
    for images, speech in _WORDS:
        told = re.sub(images, speech, told)
    return told
