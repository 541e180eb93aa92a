"""Which ReGap a live question asks for: the one that the run keeps, or one with its gate set now."""

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
"""Signals that need no weights fitted on calibration pairs."""


@dataclass(frozen=True, eq=False)
class ChosenReGap:
    """A ReGap, and in words where its gate is from."""

    edit: ReGap = field(repr=False)
    told: str

    def at(self, strength: float) -> "ChosenReGap":
        """The same gate, for another strength when it is open."""
        own = self.edit.strongest
        told = self.told if strength == own else f"{self.told}, at strength {strength:g} in place of {own:g}"
        return ChosenReGap(replace(self.edit, strongest=strength), told)


def kept_by_run(folder: Path, model: Model) -> ReGap | None:
    """The run's ReGap as edits/ keeps it; None where the run has none. Raises PackError for a damaged file."""
    own = folder / "edits" / "regap"
    if not own.is_dir():
        return None
    found = load_edit(own, model.fingerprint)
    if not isinstance(found, ReGap):
        raise PackError("edits/regap holds no ReGap; give the command of the run again")
    return found


def is_asked(kept: ReGap, question: LiveQuestion) -> bool:
    """True if the question names the layer, positions, part and gate of this ReGap; its strength may be another."""
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
    """ReGap at the question's site, its gate set on harmless calibration pairs of the run.

    named: the signal that the run's own ReGap reads; self-rectification is read in place of a fitted one.
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
