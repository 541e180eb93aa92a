"""What every method is tried on: an observed model, a judge, and the first tokens of the model's own refusals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from regap.analyses.judges.registry import judge_for
from regap.analyses.observed import Observed
from regap.analyses.study import find_refusal_tokens, judged_answers
from regap.analyses.tracking import Tracker, silent
from regap.analyses.verdicts import Judge, Judged
from regap.geometry.forward import Edit
from regap.geometry.pairs import Pairs


@runtime_checkable
class Bench(Protocol):
    """A study has all of this too, and corrections of its own beside it."""

    @property
    def seen(self) -> Observed:
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
class Plain:
    """A bench and nothing more: no correction is chosen to set it up."""

    seen: Observed
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


def bench(seen: Observed, folder: Path | None = None, track: Tracker = silent) -> Plain:
    """Return the bench of an observed model; raises PairError if the model refuses no calibration text."""
    judge = judge_for(seen.pairs, seen.config.judge)
    return Plain(seen, judge, find_refusal_tokens(seen, folder, track), folder, track)
