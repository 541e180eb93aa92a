"""Make a pack from a finished run: its correction, its model's identity, and the measured outcomes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from pydantic import ValidationError

from regap.analyses.runs.folder import provenance_of, settings_of_run
from regap.analyses.runs.questions import edit_name, edits_of, questions_of
from regap.analyses.runs.records import Record, Summary
from regap.errors import ConfigError, PackError
from regap.geometry.models.identity import ModelIdentity
from regap.interventions.edits.stored import load_edit
from regap.interventions.packs.pack import SHOWN, Condition, Outcome, Pack, PackSource, worsened

CorrectionName = Literal["fixed", "regap"]
TABLE, NOTHING = "image_tokens", "nothing"
"""The table of corrections that `regap image-tokens` chose, and its condition without one."""
WITHIN = "within-budgets"
"""How names of corrections end that were chosen within the budgets of `--within`, of harmless images first."""
PACKAGES = ("regap", "torch", "transformers")


@dataclass(frozen=True)
class Choice:
    """A stored correction, and the outcomes of a run without and with it."""

    folder: Path
    outcomes: tuple[Outcome, ...]
    false_refusals: float
    """Share of harmless calibration images that it was allowed to refuse."""


def pack_of(run: Path, method: str, *, even_if_worse: bool = False) -> Pack:
    """Return the pack of a correction of a run, with the outcomes on its test pairs.

    method: fixed or regap, or the name of a correction that `regap image-tokens` chose, such as `one-pass`. No model is
    loaded. A correction that raises attack success in any arm is refused unless `even_if_worse` is True. Raises
    ConfigError if the folder is not a finished run or has no such correction, and PackError for one that is damaged.
    """
    provenance, summary = provenance_of(run), Summary.load(run)
    image_arm = summary.text("image_arm")
    if image_arm is None:
        raise ConfigError(f"run folder {run} has no complete summary.json; run the command of the run again")
    config = settings_of_run(run)
    choice = _choice(run, method, config.false_refusals)
    edit = load_edit(choice.folder, provenance["fingerprint"])
    worse = worsened(choice.outcomes)
    if worse and not even_if_worse:
        told = " and ".join(f"on {arm} from {before:.1%} to {after:.1%}" for arm, before, after in worse)
        raise PackError(
            f"correction {method} of run folder {run} raises attack success {told}, so it does not protect; pack it "
            "anyway with --even-if-worse"
        )
    source = PackSource(
        run=provenance["fingerprint"],
        pairs=provenance["pairs"],
        pairs_sha256=provenance["pairs_sha256"],
        image_arm=image_arm,
        false_refusals=choice.false_refusals,
        seed=config.seed,
        versions={name: provenance["versions"][name] for name in PACKAGES},
    )
    return Pack.of(provenance["model"], _identity(run, provenance), edit, source, choice.outcomes)


def _identity(run: Path, provenance: dict[str, Any]) -> ModelIdentity:
    try:
        return ModelIdentity.model_validate(provenance["identity"])
    except (KeyError, ValidationError):
        raise ConfigError(
            f"provenance.json of run folder {run} has no identity of its model; run the command of the "
            "run again"
        ) from None


def _choice(run: Path, method: str, false_refusals: float) -> Choice:
    """Return the run's own correction of this name, else that of the newest question which chose one so named."""
    if method in get_args(CorrectionName):
        table = Record.load(run, "outcomes")
        outcomes = _outcomes(table.where(condition="baseline"), table.where(condition=method))
        return Choice(run / "edits" / method, outcomes, false_refusals)
    asked = [question for question in questions_of(run) if question.edits]
    for question in asked:
        if method in question.edits:
            table = Record.load(question.folder, TABLE).table
            table = table[table["measure"].isin(SHOWN)]
            named = table[table["condition"].map(edit_name) == method]
            stricter = question.settings.get("within") if method.endswith(WITHIN) else None
            outcomes = _outcomes(table[table["condition"] == NOTHING], named)
            return Choice(question.edits[method], outcomes, stricter[0] if stricter else false_refusals)
    known = dict.fromkeys([*get_args(CorrectionName), *edits_of(run)])
    more = "" if asked else "; `regap image-tokens RUN` chooses others"
    raise ConfigError(f"method is {method!r}; choose one of {', '.join(known)}{more}")


def _outcomes(bare: pd.DataFrame, corrected: pd.DataFrame) -> tuple[Outcome, ...]:
    """Return the outcomes without and with the correction, in the arms that have both."""
    both: dict[Condition, pd.DataFrame] = {"baseline": bare, "corrected": corrected}
    arms = set(corrected["arm"])
    return tuple(
        Outcome(condition=condition, arm=row["arm"], measure=row["measure"], n=row["n"], **_interval(row))
        for condition, rows in both.items()
        for row in rows.to_dict("records")
        if row["arm"] in arms
    )


def _interval(row: dict[Any, Any]) -> dict[str, float | None]:
    """Return value, low and high, with None for NaN."""
    return {name: float(row[name]) if row[name] == row[name] else None for name in ("value", "low", "high")}
