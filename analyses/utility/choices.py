"""Which lettered choice an answer names, by the rules of ScienceQA, MMBench and MMMU."""

import re
import string
from collections.abc import Mapping

from regap.geometry.data.benchmarks.questions.choices import ASK_LETTER

Choices = Mapping[str, str]
"""From letter to choice, in order."""
MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))


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
    words = text.translate(MARKS).split()
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
