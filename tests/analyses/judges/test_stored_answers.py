"""An answer is judged once by each judge; a change of either is judged anew, and a judge may stop halfway."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from regap.analyses.judges.registry import JUDGES, NamedJudge
from regap.analyses.judges.stored_answers import Answered, judge_stored
from regap.analyses.judges.verdicts import Judged
from regap.geometry.data.pairs import Pair
from regap.interventions.generation import Completion

Make = Callable[..., Pair]
PORTION = JUDGES["refusal_phrases"].portion


@pytest.fixture
def answers(make_pair: Make, make_completion: Callable[..., Completion]) -> list[Answered]:
    """Two full portions and a part of one; every third answer is a refusal."""
    texts = ["sorry, no" if place % 3 == 0 else f"answer {place}" for place in range(2 * PORTION + 5)]
    return [
        Answered("baseline", make_pair(f"p{place}"), make_completion(f"p{place}", text))
        for place, text in enumerate(texts)
    ]


def counting(seen: list[str], dies_at: int | None = None) -> NamedJudge:
    """The refusal phrases, noting what they are asked, and stopping at the given answer."""
    known = JUDGES["refusal_phrases"]

    def judge(pair: Pair, completion: Completion) -> Judged:
        if len(seen) == dies_at:
            raise RuntimeError("the judge is gone")
        seen.append(pair.pair_id)
        return known.judge(pair, completion)

    return replace(known, judge=judge)


def test_verdicts_are_kept_and_those_of_the_judge_itself(answers: list[Answered], tmp_path: Path) -> None:
    seen: list[str] = []
    done: list[int] = []
    first = judge_stored(counting(seen), answers, tmp_path, done.append)
    assert [one.verdict for one in first[:3]] == ["refused", "complied", "complied"]
    assert seen == [one.pair.pair_id for one in answers] and sum(done) == len(answers)
    assert judge_stored(counting(seen), answers, tmp_path) == first and len(seen) == len(answers)
    assert judge_stored(counting(seen), answers) == first and len(seen) == 2 * len(answers)


def test_a_judge_that_stops_halfway_loses_a_portion_at_most(answers: list[Answered], tmp_path: Path) -> None:
    seen: list[str] = []
    with pytest.raises(RuntimeError, match="the judge is gone"):
        judge_stored(counting(seen, dies_at=PORTION + 7), answers, tmp_path)
    again: list[str] = []
    found = judge_stored(counting(again), answers, tmp_path)
    assert found == judge_stored(counting([]), answers)
    assert again == [one.pair.pair_id for one in answers[PORTION:]]


@pytest.mark.parametrize("change", ["text", "request", "answer", "judge"])
def test_a_changed_answer_or_judge_is_judged_anew(
    change: str, answers: list[Answered], tmp_path: Path
) -> None:
    judge_stored(counting([]), answers, tmp_path)
    last = answers[-1]
    seen: list[str] = []
    named = counting(seen)
    if change == "judge":
        named = replace(named, identity="another")
    elif change == "text":
        answers[-1] = replace(last, completion=replace(last.completion, text="another"))
    else:
        answers[-1] = replace(last, pair=replace(last.pair, **{change: "another"}))
    judge_stored(named, answers, tmp_path)
    assert len(seen) == (len(answers) if change == "judge" else 5)


@pytest.mark.parametrize("damage", [b"", b"[]", b'[{"verdict": "safe", "reason": ""}]', b"[1]", b"{}"])
def test_damaged_verdicts_are_judged_anew(damage: bytes, answers: list[Answered], tmp_path: Path) -> None:
    whole = judge_stored(counting([]), answers, tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(damage)
    with pytest.warns(UserWarning, match="is damaged; it is computed again"):
        assert judge_stored(counting([]), answers, tmp_path) == whole
