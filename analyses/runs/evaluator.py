"""What every method is tried on: an observed model, a judge, and the first tokens of the model's own refusals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from regap.analyses.judges.registry import judge_for
from regap.analyses.runs.measured import Measured
from regap.analyses.runs.calibrated import find_refusal_tokens, judged_answers
from regap.analyses.runs.progress import Tracker, silent
from regap.analyses.judges.verdicts import Judge, Judged
from regap.geometry.forward.hooks import Edit
from regap.geometry.data.pairs import Pairs


@runtime_checkable
class Evaluator(Protocol):
    """A study has all of this too, and corrections of its own beside it."""

    @property
    def seen(self) -> Measured:
        """The model on its pairs, as it is."""
        ...

    @property
    def judge(self) -> Judge:
        """Which answers are refusals and which are right."""
        ...

    @property
    def refusal_tokens(self) -> frozenset[int]:
        """First tokens of refusals, found in the model's own answers to calibration texts."""
        ...

    @property
    def folder(self) -> Path | None:
        """Where answers are kept."""
        ...

    @property
    def track(self) -> Tracker:
        """Says how far a long step is."""
        ...

    def answers(
        self, arm: str, conditions: Mapping[str, Sequence[Edit]], pairs: Pairs | None = None
    ) -> dict[str, tuple[Judged, ...]]:
        """Return judged answers of pairs in an arm under each condition."""
        ...


@dataclass(frozen=True, eq=False)
class PlainEvaluator:
    """A bench and nothing more: no correction is chosen to set it up."""

    seen: Measured
    judge: Judge = field(repr=False)
    refusal_tokens: frozenset[int] = field(repr=False)
    folder: Path | None = None
    track: Tracker = field(default=silent, repr=False)

    def answers(
        self, arm: str, conditions: Mapping[str, Sequence[Edit]], pairs: Pairs | None = None
    ) -> dict[str, tuple[Judged, ...]]:
        """Return judged answers of pairs, of all test pairs by default, in an arm under each condition."""
        asked = (pairs or self.seen.pairs.test).where(arm=arm)
        return judged_answers(self.seen, self.judge, asked, arm, conditions, self.folder, self.track)


def evaluator(seen: Measured, folder: Path | None = None, track: Tracker = silent) -> PlainEvaluator:
    """Return the bench of an observed model; raises PairError if the model refuses no calibration text."""
    judge = judge_for(seen.pairs, seen.config.judge)
    return PlainEvaluator(seen, judge, find_refusal_tokens(seen, folder, track), folder, track)
