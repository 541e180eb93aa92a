"""Make a pack from a finished run: its correction, its model's identity, and the measured outcomes."""

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError

from regap.analyses.runs.folder import provenance_of, settings_of_run
from regap.analyses.runs.records import Record, Summary
from regap.errors import ConfigError, PackError
from regap.geometry.models.identity import ModelIdentity
from regap.interventions.edits.stored import load_edit
from regap.interventions.packs.pack import Condition, Outcome, Pack, PackSource, worsened

CorrectionName = Literal["fixed", "regap"]
PACKAGES = ("regap", "torch", "transformers")


def pack_of(run: Path, method: str, *, even_if_worse: bool = False) -> Pack:
    """Return the pack of a run's fixed correction or ReGap, with the outcomes on its test pairs.

    No model is loaded. A correction that raises attack success in any arm is refused unless `even_if_worse` is True.
    Raises ConfigError if the folder is not a finished run, and PackError if the run has no such correction.
    """
    if method not in get_args(CorrectionName):
        raise ConfigError(f"method is {method!r}; choose one of {', '.join(get_args(CorrectionName))}")
    provenance, summary = provenance_of(run), Summary.load(run)
    image_arm = summary.text("image_arm")
    if image_arm is None:
        raise ConfigError(f"run folder {run} has no complete summary.json; run the command of the run again")
    edit = load_edit(run / "edits" / method, provenance["fingerprint"])
    outcomes = _outcomes(run, method)
    worse = worsened(outcomes)
    if worse and not even_if_worse:
        told = " and ".join(f"on {arm} from {before:.1%} to {after:.1%}" for arm, before, after in worse)
        raise PackError(
            f"correction {method} of run folder {run} raises attack success {told}, so it does not protect; pack it "
            "anyway with --even-if-worse"
        )
    config = settings_of_run(run)
    source = PackSource(
        run=provenance["fingerprint"],
        pairs=provenance["pairs"],
        pairs_sha256=provenance["pairs_sha256"],
        image_arm=image_arm,
        false_refusals=config.false_refusals,
        seed=config.seed,
        versions={name: provenance["versions"][name] for name in PACKAGES},
    )
    return Pack.of(provenance["model"], _identity(run, provenance), edit, source, outcomes)


def _identity(run: Path, provenance: dict[str, Any]) -> ModelIdentity:
    try:
        return ModelIdentity.model_validate(provenance["identity"])
    except (KeyError, ValidationError):
        raise ConfigError(
            f"provenance.json of run folder {run} has no identity of its model; run the command of the "
            "run again"
        ) from None


def _outcomes(run: Path, method: str) -> tuple[Outcome, ...]:
    """Return the outcomes without and with the correction, in the arms that have both."""
    table = Record.load(run, "outcomes")
    both: dict[Condition, Any] = {
        "baseline": table.where(condition="baseline"),
        "corrected": table.where(condition=method),
    }
    arms = set(both["corrected"]["arm"])
    return tuple(
        Outcome(condition=condition, arm=row["arm"], measure=row["measure"], n=row["n"], **_interval(row))
        for condition, rows in both.items()
        for row in rows.to_dict("records")
        if row["arm"] in arms
    )


def _interval(row: dict[Any, Any]) -> dict[str, float | None]:
    """Return value, low and high, with None for NaN."""
    return {name: float(row[name]) if row[name] == row[name] else None for name in ("value", "low", "high")}
