"""Measures against numbers worked out by hand from the published rules."""

from collections.abc import Callable
from typing import Any

import pytest
from scipy.stats import beta

from regap.analyses.utility.measures import by_category, measures
from regap.geometry.data.benchmarks.questions.choices import asked

Mark = Callable[..., list[Any]]

MME = [
    ("count-1-yes", "Yes", "Yes"),
    ("count-1-no", "No", "No."),
    ("count-2-yes", "Yes", "yes, two"),
    ("count-2-no", "No", "Yes"),
    ("color-1-yes", "Yes", "Perhaps"),
    ("color-1-no", "No", "no"),
    ("text_translation-1-yes", "Yes", "Yes"),
    ("text_translation-1-no", "No", "No"),
]
POPE = [
    *[(f"random-{place}-x", "yes", "Yes") for place in range(3)],
    ("random-3-x", "yes", "No"),
    *[(f"random-{place}-x", "no", "No") for place in (4, 5)],
    ("random-6-x", "no", "Yes"),
    ("random-7-x", "no", "I'm sorry, I cannot say"),
]


def test_mme_by_hand(mark: Mark) -> None:
    found = by_category("mme", mark("mme", MME))
    values = {name: {measure: one.value for measure, one in row.items()} for name, row in found.items()}
    assert values["count"]["accuracy"] == 3 / 4 and values["count"]["accuracy_plus"] == 1 / 2
    assert values["count"]["score"] == pytest.approx(75 + 50)
    assert values["color"] == {
        "accuracy": 0.5,
        "accuracy_plus": 0.0,
        "score": 50.0,
        "unread": 0.5,
        "refused": 0.0,
    }
    assert values["perception"]["score"] == pytest.approx(75 + 50 + 50 + 0)
    assert values["cognition"]["score"] == pytest.approx(200)
    assert values["all"]["score"] == pytest.approx(375) and values["all"]["accuracy"] == 6 / 8
    assert found["all"]["accuracy"].n == 8 and found["all"]["accuracy_plus"].n == 4


def test_an_image_with_one_question_counts_in_accuracy_alone(mark: Mark) -> None:
    found = measures("mme", mark("mme", [*MME[:4], ("count-3-yes", "Yes", "Yes")]))
    assert (found["accuracy"].value, found["accuracy"].n) == (4 / 5, 5)
    assert (found["accuracy_plus"].value, found["accuracy_plus"].n) == (1 / 2, 2)
    assert found["score"].value == pytest.approx(125)  # over whole images
    alone = measures("mme", mark("mme", MME[:1]))
    assert set(alone) == {"accuracy", "unread", "refused"}


def test_pope_by_hand(mark: Mark) -> None:
    found = measures("pope", mark("pope", POPE))
    assert found["accuracy"].value == 5 / 8 and found["yes_share"].value == 5 / 8
    assert (found["precision"].value, found["precision"].n) == (3 / 5, 5)
    assert (found["recall"].value, found["recall"].n) == (3 / 4, 4)
    assert found["f1"].value == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert found["f1"].low < found["f1"].value < found["f1"].high
    assert found["refused"].value == 1 / 8 and found["unread"].value == 1 / 8


def test_what_divides_by_nothing_is_absent_not_zero(mark: Mark) -> None:
    found = measures("pope", mark("pope", [("random-0", "no", "No")]))
    assert not {"precision", "recall", "f1"} & set(found) and found["yes_share"].value == 0


def test_a_perfect_score_is_no_certainty(mark: Mark) -> None:
    found = measures("pope", mark("pope", [(f"random-{place}-x", "yes", "Yes") for place in range(20)]))
    unseen = float(beta.ppf(0.025, 20, 1))
    assert found["accuracy"].low == pytest.approx(unseen)
    assert found["f1"].low == pytest.approx(2 * unseen / (1 + unseen)) and found["f1"].high == 1
    perfect = measures("mme", mark("mme", MME[:2]))["score"]
    assert perfect.value == 200 and perfect.low != perfect.low


def test_questions_on_one_image_are_resampled_together(mark: Mark) -> None:
    """Ten images with ten equal answers each tell what ten answers do, not a hundred."""
    apart = [(f"random-{place}-0", "yes", "Yes" if place % 2 else "No") for place in range(10)]
    tied = [
        (f"random-{place}-{twin}", "yes", "Yes" if place % 2 else "No")
        for place in range(10)
        for twin in range(10)
    ]
    wide, same = (measures("pope", mark("pope", cells))["accuracy"] for cells in (apart, tied))
    assert (same.value, same.n) == (0.5, 100) and (same.low, same.high) == pytest.approx(
        (wide.low, wide.high)
    )


def test_a_question_of_mmbench_is_right_if_it_is_in_every_rotation(mark: Mark) -> None:
    request = asked("Which?", ["this", "that"])
    always_a = [("1+0", "A", "A"), ("1+1", "B", "A"), ("2+0", "B", "A"), ("2+1", "A", "A")]
    found = measures("mmbench-circular", mark("mmbench-circular", always_a, request))
    assert found["accuracy"].value == 0.5 and found["circular_accuracy"].value == 0
    knows = [*always_a[:1], ("1+1", "B", "(B)"), *always_a[2:], ("3+0", "A", "A")]
    found = measures("mmbench-circular", mark("mmbench-circular", knows, request))
    assert (found["circular_accuracy"].value, found["circular_accuracy"].n) == (
        0.5,
        2,
    )  # one rotation of 3 is absent


def test_mmmu_has_letters_and_open_answers(mark: Mark) -> None:
    letters = mark("mmmu", [("a", "B", "(B)"), ("b", "A", "the second")], asked("Which?", ["this", "that"]))
    words = mark("mmmu", [("c", "a valve", "It is a valve."), ("d", "['2', 'two']", "so 2.00")])
    found = measures("mmmu", [*letters, *words])
    assert found["accuracy"].value == 3 / 4 and found["unread"].value == 1 / 4


def test_no_answers_are_an_error() -> None:
    with pytest.raises(ValueError, match="there are no answers to pope"):
        measures("pope", [])
