"""Stored answers judged again: each once by each judge, kept, and never generated again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from regap.analyses.judges.registry import NamedJudge
from regap.analyses.judges.stored_answers import Answered
from regap.analyses.judges.verdicts import Judged, Verdict
from regap.geometry.files import write_whole
from regap.geometry.forward.runner import Advance
from regap.geometry.states.store import digest_of


def judge_stored(
    named: NamedJudge,
    answers: Sequence[Answered],
    store: Path | None = None,
    advance: Advance | None = None,
) -> tuple[Judged, ...]:
    """Return the verdict of each answer, in their order.

    With a `store` folder, portions that the same judge has judged before are read from it: they are named by the
    judge's identity and by all that it is shown of each answer, so that neither a changed judge nor a changed
    answer is served an old verdict. A damaged portion is judged anew.
    """
    found: list[Judged] = []
    for start in range(0, len(answers), named.portion):
        portion = answers[start : start + named.portion]
        path = store / f"{_digest(named, portion)}.json" if store else None
        found += _read(named, portion, path) or _judge(named, portion, path)
        if advance:
            advance(len(portion))
    return tuple(found)


def _judge(named: NamedJudge, portion: Sequence[Answered], path: Path | None) -> list[Judged]:
    judged = [named.judge(one.pair, one.completion) for one in portion]
    if path:
        rows = [{"verdict": one.verdict, "reason": one.reason} for one in judged]
        write_whole(path, json.dumps(rows).encode())
    return judged


def _read(named: NamedJudge, portion: Sequence[Answered], path: Path | None) -> list[Judged] | None:
    if path is None:
        return None
    try:
        rows = [(row["verdict"], row["reason"]) for row in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError, KeyError):
        return None  # absent or damaged
    if len(rows) != len(portion) or any(verdict not in get_args(Verdict) for verdict, _ in rows):
        return None
    return [
        Judged(one.pair, one.completion, named.name, verdict, reason)
        for one, (verdict, reason) in zip(portion, rows, strict=True)
    ]


def _digest(named: NamedJudge, portion: Sequence[Answered]) -> str:
    shown = [
        [one.pair.request, one.pair.label, one.pair.answer, one.completion.text, one.completion.finished]
        for one in portion
    ]
    return digest_of([named.name, named.identity, shown])
