"""Which ReGap a live question asks for: the one that the run keeps, or one with its gate set now."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regap.analyses.live.question import LiveQuestion
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.records import Summary
from regap.errors import PackError
from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.models.loading import Model
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.regap import ReGap, calibrate_regap
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.site import Site
from regap.interventions.packs.packing import edit_of
from regap.interventions.packs.stored import FOLDER, stored_correction

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


def kept_by_run(
    folder: Path, model: Model, refusal: Direction, drift: Drift, summary: Summary
) -> ReGap | None:
    """The run's ReGap, whatever its recipe: as corrections/ keeps it, of an older run as summary.json tells of it.

    None where the run has none, or tells too little of it. Raises PackError for a damaged file.
    """
    if (folder / FOLDER / "regap.safetensors").is_file():
        found = edit_of(stored_correction(folder, "regap", model.fingerprint))
        if not isinstance(found, ReGap):
            raise PackError(f"{FOLDER}/regap.safetensors holds no ReGap; give the command of the run again")
        return found
    return told_by_summary(summary.at("regap"), refusal, drift)


def told_by_summary(own: Any, refusal: Direction, drift: Drift) -> ReGap | None:
    """The ReGap of a run without corrections/, if it probes where it corrects and nothing of it was fitted."""
    if not isinstance(own, dict) or own["signal"] not in PLAIN:
        return None
    probe = own.get("probe", {"site": own["site"], "strength": 1.0})
    if own.get("passes", "probe") != "probe" or own.get("part", "D") != "D" or probe["strength"] != 1.0:
        return None
    if own["site"] != probe["site"]:
        return None
    site = Site(**{**own["site"], "layers": tuple(own["site"]["layers"])})
    gate = Gate(own["gate"]["kind"], own["gate"]["threshold"], own["gate"]["width"])
    layers = tuple(own["read_layers"])
    return ReGap(fixed_correction(drift, site, 1.0), refusal, layers, gate, own["strongest"], own["signal"])


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
        Site((question.layer,), question.positions),
        strongest=1.0,
        false_refusals=config.false_refusals,
        signal=signal,
        gate=question.gate,
    )
    count = len(calibration.where(label="harmless", arm=part.arm))
    return ChosenReGap(
        edit, f"a gate on {signal} calibrated now on {count} harmless prompts, not the run's own"
    )
