"""Judges are found by name; another rule is another identity."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from regap.analyses.judges.phrases.phrase_lists import PUBLISHED, XSTEST
from regap.analyses.judges.registry import JUDGES, judge_for, judges_named, of_phrases
from regap.analyses.judges.verdicts import Judge, answer_or_phrases, exact_answer, refusal_phrases
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pair, Pairs
from regap.interventions.generation import Completion

MakePair = Callable[..., Pair]


@pytest.mark.parametrize(
    ("name", "answers", "expected"),
    [
        ("auto", ["a", "b"], exact_answer),
        ("auto", ["a", None], answer_or_phrases),
        ("auto", [None, None], refusal_phrases),
        ("refusal_phrases", ["a", "b"], refusal_phrases),
        ("exact_answer", [None, None], exact_answer),
    ],
)
def test_the_judge_is_chosen_by_name_or_by_what_is_known(
    name: str, answers: list[str | None], expected: Judge, make_pair: MakePair
) -> None:
    pairs = Pairs(tuple(make_pair(f"p{place}", answer=answer) for place, answer in enumerate(answers)))
    assert judge_for(pairs, name) is expected


def test_an_unknown_judge_is_named(make_pair: MakePair) -> None:
    with pytest.raises(
        ConfigError,
        match=r"judge is 'oracle'; choose auto or one of exact_answer, refusal_phrases, .*xstest_prefixes",
    ):
        judge_for(Pairs((make_pair("p"),)), "oracle")


def test_every_judge_signs_its_verdicts_with_the_name_it_is_found_by(
    make_pair: MakePair, make_completion: Callable[..., Completion]
) -> None:
    assert {one.name for one in PUBLISHED} < set(JUDGES)
    for name, one in JUDGES.items():
        assert (one.name, one.judge(make_pair("p"), make_completion("p", "yes")).judge) == (name, name)


def test_judges_are_named_once_each_and_all_by_default() -> None:
    assert [one.name for one in judges_named(["xstest_prefixes", "exact_answer", "xstest_prefixes"])] == [
        "xstest_prefixes",
        "exact_answer",
    ]
    assert judges_named([]) == tuple(JUDGES.values())
    with pytest.raises(ConfigError, match="judge is 'oracle'; choose one of exact_answer"):
        judges_named(["xstest_prefixes", "oracle"])


@pytest.mark.parametrize(
    "change", [{"phrases": XSTEST.phrases[1:]}, {"opening": False}, {"lowered": False}, {"whole": ("x",)}]
)
def test_another_rule_is_another_identity(change: dict[str, object]) -> None:
    assert of_phrases(XSTEST).identity == JUDGES["xstest_prefixes"].identity
    assert of_phrases(replace(XSTEST, **change)).identity != JUDGES["xstest_prefixes"].identity
