"""Read an answer by the published rule of each benchmark: a letter, an open answer, or yes or no."""

import ast
import re
import string
from collections.abc import Mapping

from regap.geometry.data.benchmarks.questions.choices import ASK_LETTER

Choices = Mapping[str, str]
"""From letter to choice, in order."""
SEPARATORS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))


def choices_of(request: str) -> dict[str, str]:
    """Return the lettered choices at the end of a request; empty if it has none."""
    asked = request.rpartition(f"\n{ASK_LETTER}")[0] or request
    lines = asked.split("\n")
    starts = [place for place, line in enumerate(lines) if line.startswith("A. ")]
    found: list[str] = []
    for line in lines[starts[-1] :] if starts else ():
        if line.startswith(f"{string.ascii_uppercase[len(found) % 26]}. "):
            found.append(line[3:])
        else:
            found[-1] += f"\n{line}"  # a choice with several lines
    return dict(zip(string.ascii_uppercase, found, strict=False))


def read_scienceqa(text: str, choices: Choices) -> str:
    """Return the letter that the answer consists of, opens with ("B. ...") or names ("The answer is B."), else "".

    LLaVA's rule for ScienceQA. A lone letter may have a full stop or brackets around it.
    """
    said = text.strip()
    if (bare := said.strip("().").strip()) in choices:
        return bare
    if said[:1] in choices and said[1:3] == ". ":
        return said[0]
    named = re.findall(r"The answer is ([A-Z])\.", said)
    return named[0] if len(named) == 1 and named[0] in choices else ""


def read_mmbench(text: str, choices: Choices) -> str:
    """Return the only letter among the answer's words, if it is one of the last five; else the only choice it repeats.

    VLMEvalKit's rule without a language model: an answer it cannot read is wrong.
    """
    words = text.translate(SEPARATORS).split()
    letters = [letter for letter in choices if letter in words]
    if len(letters) == 1 and words.index(letters[0]) > len(words) - 5:
        return letters[0]
    said = text.lower()
    if len(said) > 2 * sum(map(len, choices.values())):
        return ""
    repeated = [letter for letter, choice in choices.items() if choice.lower() in said]
    return repeated[0] if len(repeated) == 1 else ""


def read_mmmu(text: str, choices: Choices) -> str:
    """Return the letter that appears in the answer as (B), else as B and a space, else as B.; the last one of several.

    Else, for an answer of more than five words, the choice that it repeats. This is MMMU's rule with one exception:
    MMMU draws a random letter for an unreadable answer (right once in as many times as there are choices); here such
    an answer is wrong.
    """
    for mark in ",.!?;:'":
        text = text.strip(mark)
    said = f" {text} "
    for form, place in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        found = [letter for letter in choices if form.format(letter) in said]
        if found:
            return max(found, key=lambda letter: said.rfind(place.format(letter)))
    if len(said.split()) <= 5:
        return ""
    repeated = [letter for letter, choice in choices.items() if choice.lower() in said.lower()]
    return max(repeated, key=lambda letter: said.lower().rfind(choices[letter].lower()), default="")


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


def read_mme(text: str) -> str:
    """Return yes or no, or "" if the answer opens with neither.

    MME's rule, ignoring case and full stops: the answer is yes, no, y or n, or its first four characters contain one
    of the words; yes wins.
    """
    said = text.lower().strip().replace(".", "")
    if len(said) == 1:
        return {"y": "yes", "n": "no"}.get(said, "")
    return next((word for word in ("yes", "no") if word in said[:4]), "")


def read_pope(text: str) -> str:
    """Return no if the first sentence, without commas, contains the word No, no or not; else yes.

    POPE's rule has no third value: an empty answer, most refusals and "NO" count as yes. Refused and unread answers
    are also counted separately.
    """
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def says_either(text: str) -> bool:
    """True if the answer contains yes, no or not as a word, in any case."""
    words = "".join(letter if letter.isalpha() else " " for letter in text.lower()).split()
    return bool({"yes", "no", "not"} & set(words))
