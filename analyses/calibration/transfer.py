"""Directions and corrections of a run, asked on another set of requests: do they transfer?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from regap.analyses.outcomes import outcomes
from regap.analyses.runs.measured import Measured
from regap.analyses.runs.pairs import pairs_of
from regap.analyses.runs.questions import edits_of, save_answer
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import Run
from regap.analyses.utility.asked import unseen
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction, refusal_direction
from regap.geometry.drift import Drift, modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.forward.hooks import Edit
from regap.geometry.separability import separability
from regap.geometry.sole_writer import sole_writer
from regap.geometry.states.activations import Activations
from regap.interventions.edits.stored import load_edit

BASELINE = "baseline"


@dataclass(frozen=True)
class Elsewhere:
    """Another set of requests, by the settings that name it."""

    benchmark: str
    data: str | None = None
    harmless: str | None = None
    limit: int | None = None
    partial: bool = False
    download: bool = False
    edits: tuple[str, ...] = field(default=())
    """Names of the run's stored corrections that are tried; empty for all of them."""


def transfer(run: Run, elsewhere: Elsewhere, seed: int | None = None) -> tuple[Record, ...]:
    """Return separability along the run's refusal direction, and outcomes under the run's corrections, on these
    requests.

    The table `transfer` also has separability along the refusal direction that is fitted on calibration requests of the
    set itself, and the cosines between both refusal directions and both drifts; `outcomes` has the shares of verdicts.
    Nothing is chosen on the set, and requests that the run calibrated on are left out. Everything is on test requests.
    Raises ConfigError if the run has no image arm or no correction of a name, PairError if no request is left.
    """
    seed = run.config.seed if seed is None else seed
    known = edits_of(run.folder)
    if unknown := [name for name in elsewhere.edits if name not in known]:
        raise ConfigError(
            f"edit is {unknown[0]!r}; the run's corrections are {', '.join(known) or 'none yet'}"
        )
    pairs = unseen(_pairs(run, elsewhere), run.pairs).require_both_labels()
    with sole_writer(run.folder):
        seen, arm = run.measured, run.measured.corrected_arm
        if arm is None:
            raise ConfigError(f"run {run.folder} has no image arm, so it has no drift; make a run with one")
        fingerprint = seen.model.fingerprint
        stored = {name: load_edit(known[name], fingerprint) for name in elsewhere.edits or known}
        states = capture(seen.runner.within("activations"), pairs, ["text", arm])
        own = refusal_direction(states["text"].calibration)
        drift = modality_drift(states["text"].calibration, states[arm].calibration)
        where = {"model": seen.model.name, "benchmark": elsewhere.benchmark}
        rows = [*_separations(seen, states, own, seed), *_cosines(seen, arm, own, drift)]
        shares = list(_shares(seen, arm, pairs.test, stored, seed))
        records = (
            Record("transfer", pd.DataFrame(rows).assign(**where)),
            Record("outcomes", pd.DataFrame(shares).assign(model=seen.model.name)),
        )
        settings = {
            name: value for name, value in vars(elsewhere).items() if name not in ("data", "download")
        }
        save_answer(run.folder, "transfer", {**settings, "edits": sorted(stored), "seed": seed}, records)
        return records


def _pairs(run: Run, elsewhere: Elsewhere) -> Pairs:
    """Return the pairs of the set, with images made as those of the run are."""
    named = {
        name: getattr(elsewhere, name)
        for name in ("benchmark", "data", "harmless", "limit", "partial", "download")
    }
    fresh: dict[str, Any] = dict.fromkeys(("pairs", "contrast", "contrast_data", "arms"))
    fresh |= dict.fromkeys(("columns", "labels", "splits", "arm_names"), ())
    return pairs_of(run.config.model_copy(update={**fresh, **named}))


def _separations(
    seen: Measured, states: dict[str, Activations], own: Direction, seed: int
) -> Iterator[dict[str, Any]]:
    for name, direction in (("run", seen.refusal), ("own", own)):
        table = separability(states, direction, resamples=seen.config.resamples, seed=seed)
        for row in table.to_dict("records"):
            kept = ("arm", "layer", "measure", "value", "low", "high", "n")
            yield {"direction": name, **{column: row[column] for column in kept}}


def _cosines(seen: Measured, arm: str, own: Direction, drift: Drift) -> Iterator[dict[str, Any]]:
    """Yield the cosines at each layer; they have no interval."""
    pairs = (("text", own.vectors, seen.refusal.vectors), (arm, drift.vectors, seen.drifts[arm].vectors))
    for where, one, other in pairs:
        cosines = (one * other).sum(-1) / (one.norm(dim=-1) * other.norm(dim=-1))
        for layer, value in zip(own.layers, cosines.tolist(), strict=True):
            gap = {"low": float("nan"), "high": float("nan")}
            known = {"direction": "run", "arm": where, "layer": layer, "measure": "cosine"}
            yield {**known, "value": value, **gap, "n": len(seen.pairs.calibration)}


def _shares(
    seen: Measured, arm: str, pairs: Pairs, stored: dict[str, Edit], seed: int
) -> Iterator[dict[str, Any]]:
    asked: dict[str, dict[str, Sequence[Edit]]] = {
        "text": {BASELINE: []},
        arm: {BASELINE: [], **{name: [edit] for name, edit in stored.items()}},
    }
    config = seen.config.model_copy(update={"read_back": False})
    plain = replace(seen, pairs=pairs, config=config)  # a judge for these pairs
    for where, conditions in asked.items():
        for condition, judged in plain.answers(where, conditions, pairs).items():
            for measure, share in outcomes(judged, seed).items():
                yield {"condition": condition, "arm": where, "measure": measure, **vars(share)}
