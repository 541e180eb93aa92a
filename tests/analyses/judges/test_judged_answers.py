"""Answers of a model in memory are judged by name or by a function of two texts, one row for each."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import regap as rg
from regap.analyses.judges.judge_panel import panel, save_panel
from regap.analyses.judges.judged_answers import FunctionJudge
from regap.analyses.judges.registry import NamedJudge, judges_named
from regap.analyses.judges.stored_answers import stored_answers
from regap.analyses.runs.records import Record
from regap.errors import ConfigError, PairError
from regap.geometry.data.pairs import Pair
from regap.interventions.generation import Completion

Answer = Callable[..., Completion]


@pytest.fixture(scope="module")
def make_answer(make_pair: Callable[..., Pair], make_completion: Answer) -> Answer:
    def answer(name: str, text: str, **known: Any) -> Completion:
        return replace(make_completion(name, text), pair=make_pair(name, **known))

    return answer


def test_a_row_says_what_was_judged_how_and_why(make_answer: Answer) -> None:
    table = rg.judge(
        [make_answer("b", "Sorry, no."), make_answer("a", "Yes.", label="harmless", answer="yes")]
    )
    assert list(table) == ["pair_id", "arm", "label", "verdict", "reason", "judge"]
    assert table[["pair_id", "arm", "label", "verdict", "judge"]].to_numpy().tolist() == [
        ["b", "text", "harmful", "refused", "answer_or_phrases"],
        ["a", "text", "harmless", "complied", "answer_or_phrases"],
    ]
    assert table["reason"].str.len().min() > 0


def test_auto_chooses_by_the_right_answers_of_the_pairs_that_were_asked(make_answer: Answer) -> None:
    assert rg.judge([make_answer("a", "no", answer="yes")])["judge"].tolist() == ["exact_answer"]
    assert rg.judge([make_answer("a", "no")])["judge"].tolist() == ["refusal_phrases"]
    assert rg.judge([make_answer("a", "no")], "xstest_prefixes")["verdict"].tolist() == ["complied"]


def test_the_same_pair_may_be_answered_in_several_arms(make_answer: Answer) -> None:
    one = make_answer("a", "Sorry.")
    assert rg.judge([one, replace(one, arm="blank")])["arm"].tolist() == ["text", "blank"]


def test_a_function_of_request_and_answer_is_a_judge(make_answer: Answer) -> None:
    shown = []

    def mine(request: str, answer: str) -> Any:
        shown.append((request, answer))
        return "refused" if "never" in answer else "not_judged"

    table = rg.judge([make_answer("a", "never"), make_answer("b", "well")], mine)
    assert shown == [("a request", "never"), ("a request", "well")]
    assert table["verdict"].tolist() == ["refused", "not_judged"] and set(table["judge"]) == {"mine"}


@pytest.mark.parametrize("returned", [None, True, "safe", ["refused"]])
def test_a_function_that_returns_no_verdict_is_refused_in_one_line(
    returned: Any, make_answer: Answer
) -> None:
    def mine(request: str, answer: str) -> Any:
        return returned

    with pytest.raises(
        ConfigError, match=r"judge mine returned .* for pair 'a'; return one of refused,"
    ) as error:
        rg.judge([make_answer("a", "well")], mine)
    assert "\n" not in str(error.value)


def test_no_answers_and_answers_without_their_pair_are_refused(
    make_answer: Answer, make_completion: Answer
) -> None:
    with pytest.raises(PairError, match="0 answers"):
        rg.judge([])
    with pytest.raises(PairError, match="2 answers, 1 of them with their pair"):
        rg.judge([make_answer("a", "yes"), make_completion("b", "yes")])


def test_an_unknown_judge_is_named(make_answer: Answer) -> None:
    with pytest.raises(ConfigError, match="judge is 'oracle'; choose auto or one of exact_answer"):
        rg.judge([make_answer("a", "yes")], "oracle")


def test_the_examples_of_the_document_run(
    root: Path, make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = (root / "docs" / "judges.md").read_text("utf-8").split("## Your own judge")[1].split("\n## ")[0]
    examples = [block.split("```")[0] for block in section.split("```python\n")[1:]]
    make_run(tmp_path / "runs" / "demo", [("baseline", "a", "Sorry, no.", "complied")])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, "docs/judges.md", "exec"), names)
    assert len(names["answers"]) == 1 and names["my_judge"]("request", "") == "degenerate"
    own = NamedJudge(
        "my_judge", FunctionJudge(names["my_judge"]), identity="my_judge, version 1", source="us"
    )
    run = Path("runs/demo")
    save_panel(panel(stored_answers(run), [own, *judges_named(["xstest_prefixes"])], run), run)
    assert rg.judge(rg.open_run(run).answers(), names["my_judge"])["verdict"].tolist() == ["refused"]
    verdicts = Record.load(Path("runs/demo"), "verdicts").where(judge="my_judge")
    assert verdicts["verdict"].tolist() == ["refused"]
