"""The wording of a multiple-choice question, and of its right answer."""

import string
from collections.abc import Sequence

from regap.errors import PairError

ASK_LETTER = "Answer with the option's letter from the given choices directly."
ASK_WORD = "Answer the question using a single word or phrase."


def asked(question: str, choices: Sequence[str], hint: str = "") -> str:
    """Return hint, question, lettered choices and the request for a letter, each on its own line."""
    lettered = [
        f"{letter}. {choice}" for letter, choice in zip(string.ascii_uppercase, choices, strict=False)
    ]
    return "\n".join([*([hint] if hint else []), question, *lettered, ASK_LETTER])


def letter(place: int, choices: Sequence[str], where: str) -> str:
    """Return the letter of the right choice; PairError if there is no such choice."""
    if not 0 <= place < min(len(choices), 26):
        raise PairError(
            f"{where}: answer {place} is not one of the {len(choices)} choices; download the file again"
        )
    return string.ascii_uppercase[place]
