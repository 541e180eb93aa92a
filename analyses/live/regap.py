"""The ReGap for a live question: the run's own, or one that is calibrated now."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regap.analyses.live.question import LiveQuestion
from regap.analyses.runs.config import RunConfig
from regap.errors import PackError
from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.models.loading import Model
from regap.interventions.edits.regap import ReGap, calibrate_regap
from regap.interventions.edits.stored import load_edit

PLAIN = ("rho", "z_before", "z_after", "growth")
"""Signals without fitted weights."""


@dataclass(frozen=True, eq=False)
class ChosenReGap:
    """A ReGap, and the origin of its gate in words."""

    edit: ReGap = field(repr=False)
    told: str

    def at(self, strength: float) -> "ChosenReGap":
        """Return the same gate with another strength of the open gate."""
        own = self.edit.strongest
        told = self.told if strength == own else f"{self.told}, at strength {strength:g} in place of {own:g}"
        return ChosenReGap(replace(self.edit, strongest=strength), told)


def kept_by_run(folder: Path, model: Model) -> ReGap | None:
    """Return the run's ReGap from edits/; None if the run has none. Raises PackError for a damaged file."""
    own = folder / "edits" / "regap"
    if not own.is_dir():
        return None
    found = load_edit(own, model.fingerprint)
    if not isinstance(found, ReGap):
        raise PackError("edits/regap does not hold a ReGap; run the command of the run again")
    return found


def is_asked(kept: ReGap, question: LiveQuestion) -> bool:
    """Return True if the question has the layer, positions, part and gate of this ReGap; the strength may differ."""
    removed = kept.removed
    asked = ((question.layer,), question.positions, question.part, question.gate)
    return asked == (removed.site.layers, removed.site.positions, removed.name, kept.gate.kind)


def calibrated_now(
    model: Model,
    calibration: Pairs,
    refusal: Direction,
    part: Drift,
    question: LiveQuestion,
    named: str,
    config: RunConfig,
) -> ChosenReGap:
    """Return ReGap at the question's site, with its gate calibrated on harmless calibration pairs of the run.

    named: the signal of the run's own ReGap; rho replaces a fitted signal.
    """
    signal: Any = named if named in PLAIN else "rho"
    edit = calibrate_regap(
        model,
        calibration,
        refusal,
        part,
        [question.layer],
        positions=question.positions,
        strongest=1.0,
        false_refusals=config.false_refusals,
        signal=signal,
        gate=question.gate,
    )
    count = len(calibration.where(label="harmless", arm=part.arm))
    return ChosenReGap(
        edit, f"a gate on {signal} calibrated now on {count} harmless prompts, not the run's own"
    )
