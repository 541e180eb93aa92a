"""Several judges on the stored answers of a run: verdicts, agreement, and the answers on which they differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import pandas as pd

from regap.analyses.judges.agreement import agreement, disagreements
from regap.analyses.judges.comparisons import comparison_rows
from regap.analyses.judges.registry import NamedJudge
from regap.analyses.judges.stored_answers import Answered, StoredAnswers, judge_stored
from regap.analyses.judges.verdicts import Judged
from regap.analyses.read_back import with_misread
from regap.analyses.runs.questions import save_answer
from regap.analyses.runs.records import Record
from regap.geometry.forward.runner import Tracker, silent

EVERYTHING = "all"
"""Stands for all conditions, arms or labels together in a row."""


@dataclass(frozen=True)
class JudgePanel:
    """The verdicts of several judges on the same answers, each judge's in the order of the answers."""

    stored: StoredAnswers = field(repr=False)
    verdicts: tuple[tuple[Judged, ...], ...] = field(repr=False)
    """One row for each judge, the run's own first."""

    def __post_init__(self) -> None:
        if any(len(judged) != len(self.stored.answers) for judged in self.verdicts):
            raise ValueError(
                "a judge of the panel did not judge the stored answers, each once; judge all of them"
            )

    @property
    def judges(self) -> tuple[str, ...]:
        """The names of the judges."""
        return tuple(judged[0].judge for judged in self.verdicts)


def panel(
    stored: StoredAnswers,
    judges: Sequence[NamedJudge],
    folder: Path | None = None,
    track: Tracker = silent,
) -> JudgePanel:
    """Return the verdicts of the run's own judge and of these judges, kept in the run folder if one is given.

    The run's own verdicts are never judged again, even if its judge is named among these. Under every judge, answers to
    images that the run read as another request are misread.
    """
    asked = [one for one in judges if one.name != stored.judge]
    verdicts = [stored.verdicts]
    for named in asked:
        advance = track(f"verdicts, {named.name}", len(stored.answers))
        judged = judge_stored(named, stored.answers, folder / "verdicts" if folder else None, advance)
        verdicts.append(with_misread(judged, stored.readings))
    return JudgePanel(stored, tuple(verdicts))


def with_verdicts(found: JudgePanel, judged: tuple[Judged, ...]) -> JudgePanel:
    """Return the panel with the verdicts of one more judge."""
    return JudgePanel(found.stored, (*found.verdicts, with_misread(judged, found.stored.readings)))


def save_panel(
    found: JudgePanel, folder: Path, seed: int = 0, further: Sequence[Record] = ()
) -> tuple[Record, ...]:
    """Keep the tables verdicts, agreement, disagreements and comparisons beside other answers of a run; return them.

    A table that would be empty, as of disagreements where there are none, is not written. further: tables that are
    kept with them.
    """
    rows = {
        "verdicts": _verdict_rows(found),
        "agreement": agreement_rows(found, seed),
        "disagreements": disagreement_rows(found),
        "comparisons": comparison_rows(found.stored, found.verdicts, seed),
    }
    records = [Record(name, pd.DataFrame(cells)) for name, cells in rows.items() if cells]
    save_answer(folder, "judge", {"judges": found.judges, "seed": seed}, [*records, *further])
    return (*records, *further)


def agreement_rows(found: JudgePanel, seed: int = 0) -> list[dict[str, object]]:
    """Return kappa and the share of equal verdicts of every two judges, for all answers and for each subset."""
    rows: list[dict[str, object]] = []
    for where, kept in _parts(found.stored.answers):
        for first, second in combinations(found.verdicts, 2):
            shared = agreement([first[place] for place in kept], [second[place] for place in kept], seed)
            if shared is None:
                continue
            known = {"model": found.stored.model, **where, "first": shared.first, "second": shared.second}
            rows += [
                {**known, "measure": measure, **vars(value)}
                for measure, value in (("kappa", shared.kappa), ("agreement", shared.share))
            ]
    return rows


def disagreement_rows(found: JudgePanel) -> list[dict[str, object]]:
    """Return every answer on which two judges differ, once for each pair of judges, with verdicts and reasons."""
    answers = found.stored.answers
    return [
        {
            "model": found.stored.model,
            "condition": answers[place].condition,
            "arm": answers[place].arm,
            "pair_id": answers[place].pair.pair_id,
            "label": answers[place].pair.label,
            "first": first[place].judge,
            "second": second[place].judge,
            "first_verdict": first[place].verdict,
            "second_verdict": second[place].verdict,
            "first_reason": first[place].reason,
            "second_reason": second[place].reason,
        }
        for first, second in combinations(found.verdicts, 2)
        for place in disagreements(first, second)
    ]


def _verdict_rows(found: JudgePanel) -> list[dict[str, object]]:
    return [
        {
            "model": found.stored.model,
            "condition": answered.condition,
            "arm": answered.arm,
            "pair_id": one.pair.pair_id,
            "label": one.pair.label,
            "judge": one.judge,
            "verdict": one.verdict,
            "reason": one.reason,
        }
        for judged in found.verdicts
        for answered, one in zip(found.stored.answers, judged, strict=True)
    ]


def _parts(answers: Sequence[Answered]) -> list[tuple[dict[str, str], list[int]]]:
    """Return all answers, then those of each condition and arm, each also by label, as indices."""
    cells = dict.fromkeys((one.condition, one.arm) for one in answers)
    parts: list[tuple[dict[str, str], list[int]]] = []
    for condition, arm in [(EVERYTHING, EVERYTHING), *cells]:
        for label in (EVERYTHING, "harmful", "harmless"):
            kept = _places(
                answers,
                lambda one, where=(condition, arm), label=label: (
                    where in ((EVERYTHING, EVERYTHING), (one.condition, one.arm))
                    and label in (EVERYTHING, one.pair.label)
                ),
            )
            if kept:
                parts.append(({"condition": condition, "arm": arm, "label": label}, kept))
    return parts


def _places(answers: Sequence[Answered], wanted: Callable[[Answered], bool]) -> list[int]:
    return [place for place, one in enumerate(answers) if wanted(one)]
