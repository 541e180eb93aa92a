"""What each published rule reads in an answer; each trap is a row."""

from typing import Any

import pytest

from regap.analyses.utility.reading import (
    choices_of,
    is_right,
    read_mmbench,
    read_mme,
    read_mmmu,
    read_pope,
    read_scienceqa,
    says_either,
)
from regap.geometry.data.benchmarks.questions.choices import asked

CHOICES = {"A": "a kettle", "B": "a pot", "C": "a pan"}

MME = {
    "Yes": "yes",
    "no.": "no",
    " YES!": "yes",
    "y": "yes",
    "N.": "no",
    "x": "",
    "Yes, it is there.": "yes",
    "No, but yes": "no",  # the first four characters decide
    "It is not": "",
    "The answer is yes": "",
    "know": "no",  # MME's own rule: no stands in the first four characters
    "I'm sorry, no": "",
    "": "",
}
POPE = {
    "Yes": "yes",
    "No": "no",
    "No, there is none.": "no",
    "There is not a dog. Yes": "no",
    "There is a dog. No cat": "yes",  # the first sentence alone
    "NO": "yes",  # in these very letters alone
    "nothing": "yes",
    "I'm sorry, I cannot help": "yes",
    "": "yes",
}
SCIENCEQA = {
    "B": "B",
    "B.": "B",
    "(B)": "B",
    " B. a pot": "B",
    "The answer is C.": "C",
    "The answer is B. The answer is C.": "",
    "The answer is Z.": "",
    "D": "",
    "b": "",
    "a pot": "",
    "Because it boils": "",
}
MMBENCH = {
    "B": "B",
    "(B)": "B",
    "The answer is B.": "B",
    "Option C: a pan": "C",
    "B or C": "",
    "A kettle is on the stove, one can see its spout": "",  # A stands too far from the end, and is an article
    "a pot": "B",
    "It is a pot": "B",
    "a pot or a pan": "",
    "I see, after looking for a very long time, a pot": "",  # twice as long as all choices
    "b": "",
    "": "",
}
MMMU = {
    "B": "B",
    "(B)": "B",
    "B.": "B",
    "I think (A), no, (C)": "C",
    "A or B": "B",
    "The answer is B, I think": "",
    "The answer is B": "B",
    "b": "",
    "a pot": "",  # five words and fewer are not compared with the choices
    "what I can see is a pot, I think": "B",
    "it is a pot, or rather it is a pan": "C",
    "": "",
}
OPEN = {
    ("5", "5"): True,
    ("The answer is 5.", "5"): True,
    ("x = 3.14159", "3.14"): True,
    ("1,234", "1234"): True,
    ("6.02e3", "6020"): True,
    ("-5", "5"): False,
    ("15", "5"): False,
    ("The area is 12 so the answer is 24", "12"): False,  # what comes after the last opening counts
    ("It is the mitral valve", "Mitral Valve"): True,
    ("the valve", "mitral valve"): False,
    ("either two or 2", "['two', '2']"): True,
    ("three", "['two', '2']"): False,
    ("mass and b", "b"): True,
    ("basis", "b"): False,  # a letter stands by itself
    ("", "5"): False,
}


@pytest.mark.parametrize("text", MME)
def test_mme_reads_the_opening(text: str) -> None:
    assert read_mme(text) == MME[text]


@pytest.mark.parametrize("text", POPE)
def test_pope_knows_no_and_else_yes(text: str) -> None:
    assert read_pope(text) == POPE[text]


def test_what_pope_cannot_tell_is_seen_beside_it() -> None:
    assert [says_either(text) for text in ("NO", "yes!", "it is not", "nothing", "")] == [True] * 3 + [
        False
    ] * 2


@pytest.mark.parametrize("text", SCIENCEQA)
def test_scienceqa_wants_the_letter_first_or_called_the_answer(text: str) -> None:
    assert read_scienceqa(text, CHOICES) == SCIENCEQA[text]


@pytest.mark.parametrize("text", MMBENCH)
def test_mmbench_wants_one_letter_near_the_end_or_one_choice(text: str) -> None:
    assert read_mmbench(text, CHOICES) == MMBENCH[text]


@pytest.mark.parametrize("text", MMMU)
def test_mmmu_takes_the_last_letter_and_long_answers_by_their_words(text: str) -> None:
    assert read_mmmu(text, CHOICES) == MMMU[text]


@pytest.mark.parametrize(("text", "answer"), OPEN)
def test_open_answers_are_right_in_words_or_to_two_decimals(text: str, answer: str) -> None:
    assert is_right(text, answer) == OPEN[text, answer]


def test_choices_are_read_back_from_the_question_that_was_asked() -> None:
    choices = ["one\nand more", "two", "A. three"]
    question = asked("Which?\nA. is no choice, but part of the question", choices, "A hint")
    assert choices_of(question) == dict(zip("ABC", choices, strict=True))
    assert choices_of(asked("Which?", list("wxyz"))) == dict(zip("ABCD", "wxyz", strict=True))
    assert choices_of("Is it so?") == {}


LETTERS = "a question\nA. a kettle\nB. a pot\nC. a pan"
MARKED = {
    "mme": ("Yes", "No", "yes", "a question"),
    "pope": ("Yes", "No", "yes", "a question"),
    "scienceqa": ("B", "A", "B", LETTERS),
    "mmbench": ("B", "A", "B", LETTERS),
    "mmbench-circular": ("B", "A", "B", LETTERS),
    "mmmu": ("(B)", "(A)", "B", LETTERS),
}


@pytest.mark.parametrize("name", MARKED)
def test_every_rule_reads_what_is_said_after_thinking(name: str, mark: Any) -> None:
    right, wrong, answer, request = MARKED[name]
    texts = (
        f"<think>Is it {wrong}? Or {right}?</think>\n{right}",
        f"It may be {wrong}.</think>{right}",
        f"<think>{right}</think>{wrong}",
        f"<think>{right}",
        "<think>It is a pot, and not a pan; the answer is yes",
    )
    found = mark(name, [(str(place), answer, text) for place, text in enumerate(texts)], request)
    assert [one.right for one in found] == [True, True, False, False, False]
    assert [one.readable for one in found] == [True, True, True, False, False]
    assert [one.text for one in found] == [*texts] and not any(one.refused for one in found)
