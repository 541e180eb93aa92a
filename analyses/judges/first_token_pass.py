"""First-token log-odds of every prompt that a run answered, under the same conditions, without answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from regap.analyses.judges.first_token import first_token_judge, first_token_log_odds
from regap.analyses.judges.stored_answers import StoredAnswers
from regap.analyses.judges.verdicts import Judged
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import Run
from regap.geometry.forward.hooks import Edit


@dataclass(frozen=True)
class FirstTokens:
    """The log-odds of a refusal at the end of each test prompt."""

    scores: Mapping[tuple[str, str], Mapping[str, float]] = field(repr=False)
    """By condition and arm, then by pair; in nats."""

    def verdicts(self, stored: StoredAnswers) -> tuple[Judged, ...]:
        """Return the verdict on each stored answer, in their order."""
        return tuple(
            first_token_judge(self.scores.get((one.condition, one.arm), {}))(one.pair, one.completion)
            for one in stored.answers
        )

    def record(self, stored: StoredAnswers) -> Record:
        """Return the table first_token: one row for each answered prompt."""
        rows = [
            {"model": stored.model, "condition": one.condition, "arm": one.arm, "pair_id": one.pair.pair_id}
            | {"label": one.pair.label, "log_odds": scores[one.pair.pair_id]}
            for one in stored.answers
            if one.pair.pair_id in (scores := self.scores.get((one.condition, one.arm), {}))
        ]
        return Record("first_token", pd.DataFrame(rows))


def first_token_pass(run: Run, stored: StoredAnswers) -> FirstTokens:
    """Return the log-odds under the conditions of the run.

    Raises ConfigError if the model that the settings name is no longer the one that answered.
    """
    calibrated = run.calibrated
    arms: dict[str, dict[str, Sequence[Edit]]] = {}
    for one in stored.answers:
        if one.condition in calibrated.conditions:
            arms.setdefault(one.arm, {})[one.condition] = calibrated.conditions[one.condition]
    scores: dict[tuple[str, str], Mapping[str, float]] = {}
    for arm, conditions in arms.items():
        runner = calibrated.seen.runner.named(f"first tokens, {arm}, {len(conditions)} conditions")
        tokens, asked = calibrated.seen.refusal_tokens, calibrated.seen.pairs.test.where(arm=arm)
        found = first_token_log_odds(runner, asked, arm, tokens, conditions)
        scores |= {(condition, arm): by_pair for condition, by_pair in found.items()}
    return FirstTokens(scores)
