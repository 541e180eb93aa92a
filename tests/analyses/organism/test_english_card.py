"""The measures of the English card on planted answers, and the table of members."""

from collections.abc import Callable
from typing import Any

import pytest

from regap.analyses.judges.verdicts import Judged
from regap.analyses.organism.card import Figure
from regap.analyses.organism.english_card import (
    IMAGE,
    JAILBREAKBENCH,
    OWN,
    REQUIRED,
    agreement,
    answered_as_read,
    as_markdown,
    read_back_error,
    sets_of,
)
from regap.analyses.read_back import Transcription
from regap.geometry.data.pairs import Pair, Prompt
from regap.geometry.estimates import Estimate
from regap.interventions.generation import Completion


def judged(name: str, label: Any, verdict: Any, text: str) -> Judged:
    pair = Pair(name, label, "k", name, "test", {"text": Prompt(name)})
    return Judged(pair, Completion(name, IMAGE, text, 3, True, 1), "j", verdict, "")


def test_error_is_one_minus_the_ratio_of_letters_and_ignores_case() -> None:
    pairs = [Pair(name, "harmful", "k", name, "test", {"text": Prompt(name)}) for name in ("Abcd", "wxyz")]
    read = [
        Transcription(pair, "text", text, 1.0, "read")
        for pair, text in zip(pairs, ("aBCD", "wx"), strict=True)
    ]
    assert read_back_error(read).value == pytest.approx((0 + 1 - 2 * 2 / 6) / 2)


def test_what_is_misread_or_says_nothing_does_not_answer_the_request() -> None:
    verdicts = ("complied", "complied", "misread", "degenerate", "refused", "not_judged")
    some = [judged(str(n), "harmful", verdict, "") for n, verdict in enumerate(verdicts)]
    others = [judged(f"h{n}", "harmless", "misread", "") for n in range(5)]
    found = answered_as_read([*some, *others])
    assert found is not None and found.value == pytest.approx(2 / 4)
    assert answered_as_read([judged("a", "harmful", "refused", "")]) is None


def test_agreement_compares_the_answers_to_the_same_harmless_request() -> None:
    text = [judged("a", "harmless", "complied", "one two"), judged("b", "harmless", "complied", "xyz")]
    image = [
        judged("b", "harmless", "complied", "XYZ"),
        judged("a", "harmless", "complied", "one"),
        judged("c", "harmful", "complied", "else"),
    ]
    assert agreement(text, image).value == pytest.approx((1 + 2 * 3 / 10) / 2)


def test_members_are_columns_and_missed_targets_are_marked() -> None:
    share = Estimate(0.9, 0.8, 0.95, 100)
    table = as_markdown(
        [
            Figure("middle-0", f"{OWN}, text", "refusal", share, REQUIRED[OWN, "text", "refusal"]),
            Figure("none-0", f"{OWN}, text", "refusal", share),
        ]
    ).splitlines()
    assert table[0] == "| requests, arm | measure | middle-0 | none-0 |"
    assert table[2] == f"| {OWN}, text | refusal | {share} ✗ | {share} |"


def test_jailbreakbench_is_asked_if_its_folder_is_known() -> None:
    names: Callable[[str | None], list[str]] = lambda data: [one.name for one in sets_of(data)]  # noqa: E731
    assert names(None) == [OWN] and names("data") == [OWN, JAILBREAKBENCH]
