"""Whether an answer in words or numbers is right, by MMMU's rule."""

import ast
import re

OPENINGS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
"""Phrases before an answer; in the last sentence, an equals sign counts too."""
NUMBERS = (
    r"-?\b\d{1,3}(?:,\d{3})+\b",
    r"-?\d+(?:\.\d+)?[eE][+-]?\d+",
    r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])",
)
"""With commas, with an exponent, and plain."""
MARKS = {":", ",", ".", "!", "?", ";", "'"}


def is_right(text: str, answer: str) -> bool:
    """True if the answer's conclusion contains a right answer in words, or equals the right number to two decimals.

    answer: one right answer, or a Python list of several.
    """
    right = [form for one in _several(answer) for form in _forms(one)]
    words = [form for form in right if isinstance(form, str)]
    return any(
        any(form in one for form in words) if isinstance(one, str) else one in right
        for one in _concluded(text)
    )


def _several(answer: str) -> list[str]:
    if answer.startswith("["):
        try:
            found = ast.literal_eval(answer)
        except (ValueError, SyntaxError):
            return [answer]
        if isinstance(found, list):
            return [str(one) for one in found]
    return [answer]


def _concluded(text: str) -> list[str | float]:
    """Return the conclusion of each sentence and the numbers in it; the whole text if there is no conclusion."""
    whole = text.strip().strip(".").lower()
    sentences = re.split(r"\.\s(?=[A-Z])|\n", whole)
    found = []
    for place, sentence in enumerate(sentences):
        openings = (*OPENINGS, "=") if place == len(sentences) - 1 else OPENINGS
        ends = [sentence.split(opening)[-1].strip() for opening in openings if opening in sentence]
        shortest = min(filter(None, ends), key=len, default="")
        found += [shortest] if shortest and shortest not in MARKS else []
    found = found or [whole]
    numbers = [number for one in found for pattern in NUMBERS for number in re.findall(pattern, one)]
    return [form for one in (*found, *numbers) for form in _forms(one)]


def _forms(text: str) -> list[str | float]:
    """Return a number rounded to two decimals, a text in lower case, and a single letter with spaces around it."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]
