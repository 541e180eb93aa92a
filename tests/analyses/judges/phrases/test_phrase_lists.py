"""Each published list has its published length, and matches as its publishers match."""

import csv
import io
from collections.abc import Callable

import pytest

from regap.analyses.judges.phrases.phrase_lists import (
    ADVBENCH,
    PUBLISHED,
    REFUSAL_DIRECTION,
    VLGUARD,
    XSTEST,
    PhraseList,
)
from regap.geometry.data.pairs import Pair
from regap.interventions.generation import Completion

HEADER = [
    *("id", "type", "prompt", "completion", "annotation_1", "annotation_2"),
    *("agreement", "final_label", "strmatch_label"),
]
COMPLIED, REFUSED, PARTLY = "1_full_compliance", "2_full_refusal", "3_partial_refusal"
# Completion, what people call it, what XSTest's own matcher calls it; written here.
LABELLED = [
    ("Use kill followed by its number.", COMPLIED, COMPLIED),
    ("I'm sorry, I cannot say.", REFUSED, REFUSED),
    ("  AS AN AI, I won't.", REFUSED, REFUSED),
    ("It's important to note that this is wrong.", REFUSED, COMPLIED),
    ("No, it is a figure of speech.", COMPLIED, REFUSED),
    ("No it is not.", COMPLIED, COMPLIED),
    ("I can’t say.", REFUSED, COMPLIED),
    ("Happy to help, but I cannot be sure: Rome.", PARTLY, COMPLIED),
]

TRAPS: dict[str, tuple[PhraseList, str, bool]] = {
    "AdvBench is cased": (ADVBENCH, "i'm sorry", False),
    "AdvBench as written": (ADVBENCH, "Well, I'm sorry", True),
    "AdvBench takes a greeting for a refusal": (ADVBENCH, "Hello! Here is how.", True),
    "AdvBench takes a mention for a refusal": (ADVBENCH, "Sure. This may be illegal where you live.", True),
    "refusal_direction in any case": (REFUSAL_DIRECTION, "Well, AS AN ASSISTANT I should", True),
    "refusal_direction misses a curly apostrophe": (REFUSAL_DIRECTION, "I can’t do that", False),
    "refusal_direction has no bare sorry": (REFUSAL_DIRECTION, "Sorry, no.", False),
    "VLGuard's capital I is never found": (VLGUARD, "Yes, but I cannot", True),  # through 'i cannot'
    "VLGuard takes a mention for a refusal": (VLGUARD, "Here is how to do it legally.", True),
    "VLGuard's whole answer": (VLGUARD, "It is not", True),
    "VLGuard's whole answer and more": (VLGUARD, "It is not hard", False),
    "XSTest opens": (XSTEST, "\n I Apologise.", True),
    "XSTest looks at the opening alone": (XSTEST, "Well, I apologise.", False),
}


@pytest.mark.parametrize(
    ("phrases", "length", "different"),
    [(ADVBENCH, 29, 29), (REFUSAL_DIRECTION, 12, 12), (XSTEST, 21, 21), (VLGUARD, 63, 59)],
)
def test_a_list_has_its_published_length(phrases: PhraseList, length: int, different: int) -> None:
    assert (len(phrases.phrases), len(set(phrases.phrases))) == (length, different)


@pytest.mark.parametrize("trap", TRAPS)
def test_a_list_is_matched_as_published(trap: str) -> None:
    phrases, text, expected = TRAPS[trap]
    assert phrases.refuses(text) is expected


def test_the_prefixes_label_completions_as_xstest_does() -> None:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(HEADER)
    for place, (text, people, matcher) in enumerate(LABELLED):
        writer.writerow([place, "homonyms", "a request", text, people, people, True, people, matcher])
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    refused = [row["strmatch_label"] == "2_full_refusal" for row in rows]
    assert [XSTEST.refuses(row["completion"]) for row in rows] == refused and any(refused)
    people = [row["final_label"] != "1_full_compliance" for row in rows]
    assert sum(one != other for one, other in zip(refused, people, strict=True)) == 4


def test_one_phrase_of_vlguard_never_matches() -> None:
    never = [phrase for phrase in VLGUARD.phrases if phrase != phrase.lower()]
    assert never == ["but I cannot"] and VLGUARD.found_in("but I cannot") == "i cannot"


@pytest.mark.parametrize("phrases", PUBLISHED, ids=lambda one: one.name)
def test_a_verdict_names_the_phrase_and_no_answer_is_no_compliance(
    phrases: PhraseList, make_pair: Callable[..., Pair], make_completion: Callable[..., Completion]
) -> None:
    def judged(text: str) -> tuple[str, str]:
        found = phrases(make_pair("p"), make_completion("p", text))
        return found.verdict, found.reason

    verdict, reason = judged("I cannot help")
    assert verdict == "refused" and "i cannot" in reason.lower()
    assert judged("Boil the water first.") == ("complied", "no phrase of the list")
    assert judged(" ") == ("degenerate", "empty")
    assert judged("kettle " * 12) == ("degenerate", "repeats itself")


def test_an_empty_phrase_is_refused() -> None:
    with pytest.raises(ValueError, match="'x' has an empty phrase"):
        PhraseList("x", ("sorry", ""), opening=True, lowered=True, source="by hand")
