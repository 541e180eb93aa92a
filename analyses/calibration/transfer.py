"""Directions and corrections of a run, asked on another set of requests: do they transfer?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from regap.analyses.outcomes import outcomes
from regap.analyses.runs.measured import Measured
from regap.analyses.runs.pairs import drawing_style, pairs_of
from regap.analyses.runs.questions import edits_of, save_answer
from regap.analyses.runs.records import Record, Summary
from regap.analyses.runs.run import Run
from regap.analyses.utility.asked import unseen
from regap.errors import ConfigError, PairError
from regap.geometry.data.arm_synthesis import MADE
from regap.geometry.data.benchmarks.catalogue import card_of
from regap.geometry.data.pairs import Pairs, normal
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
    set itself, and the cosines between both refusal directions and both drifts. `transfer_outcomes` has the shares of
    verdicts. Separability and verdicts are of the set's test requests. No correction is chosen on the set, and requests
    that the run calibrated on are left out. Raises ConfigError if the run has no image arm or no correction of a name,
    PairError if no request is left or the corrected arm cannot be made.
    """
    seed = run.config.seed if seed is None else seed
    known = edits_of(run.folder)
    if unknown := [name for name in elsewhere.edits if name not in known]:
        raise ConfigError(
            f"edit is {unknown[0]!r}; the run's corrections are {', '.join(known) or 'none yet'}"
        )
    arm = Summary.load(run.folder).text("image_arm")
    if arm is None:
        raise ConfigError(
            f"run {run.folder} is not finished, or has no image arm; finish it with `regap run`"
        )
    # Unlike the questions of a utility benchmark, equal requests are the same question here.
    calibrated = {normal(pair.request) for pair in run.pairs if pair.split == "calibration"}
    found = _pairs(run, elsewhere, arm)
    other = tuple(pair for pair in found if normal(pair.request) not in calibrated)
    pairs = unseen(Pairs(other, found.notes), run.pairs).require_both_labels()
    if arm not in pairs.arms:
        raise PairError(
            f"benchmark {elsewhere.benchmark} has no arm {arm}, which the run corrects, and it cannot be made"
        )
    with sole_writer(run.folder):
        seen = run.measured
        fingerprint = seen.model.fingerprint
        stored = {name: load_edit(known[name], fingerprint) for name in elsewhere.edits or known}
        states = capture(
            seen.runner.within("activations"), pairs, ["text", arm], position=seen.config.position
        )
        own = refusal_direction(states["text"].calibration)
        drift = modality_drift(states["text"].calibration, states[arm].calibration)
        where = {"model": seen.model.name, "benchmark": elsewhere.benchmark}
        rows = [*_separations(seen, states, own, seed), *_cosines(seen, states, arm, own, drift)]
        shares = list(_shares(seen, arm, pairs.test, stored, seed))
        records = (
            Record("transfer", pd.DataFrame(rows).assign(**where)),
            Record("transfer_outcomes", pd.DataFrame(shares).assign(**where)),
        )
        settings = {
            name: value for name, value in vars(elsewhere).items() if name not in ("data", "download")
        }
        settings |= {"edits": sorted(stored), "seed": seed, "notes": pairs.notes}
        save_answer(run.folder, "transfer", settings, records)
        return records


def _pairs(run: Run, elsewhere: Elsewhere, arm: str) -> Pairs:
    """Return the pairs of the set; if the run's images were drawn, these are drawn too, in the same style."""
    own = run.config.benchmark
    drawn = arm in run.config.make or (own is not None and arm not in card_of(own).arms)
    lacking = arm not in card_of(elsewhere.benchmark).arms
    settings = ("benchmark", "data", "harmless", "limit", "partial", "download")
    changed = {name: getattr(elsewhere, name) for name in settings}
    changed |= dict.fromkeys(("pairs", "contrast", "contrast_data", "arms"))
    changed |= dict.fromkeys(("columns", "labels", "splits", "arm_names"), ())
    changed |= {
        "style": drawing_style(run.config),
        "make": (arm,) if arm in MADE and (drawn or lacking) else (),
    }
    return pairs_of(run.config.model_copy(update=changed))


def _separations(
    seen: Measured, states: dict[str, Activations], own: Direction, seed: int
) -> Iterator[dict[str, Any]]:
    for name, direction in (("run", seen.refusal), ("own", own)):
        table = separability(states, direction, resamples=seen.config.resamples, seed=seed)
        for row in table.to_dict("records"):
            kept = ("arm", "layer", "measure", "value", "low", "high", "n")
            yield {"direction": name, **{column: row[column] for column in kept}}


def _cosines(
    seen: Measured, states: dict[str, Activations], arm: str, own: Direction, drift: Drift
) -> Iterator[dict[str, Any]]:
    """Yield the cosines at each layer; they have no interval. Their n is that of the smaller of both fits."""
    fewest = min(len(states["text"].calibration), len(seen.states["text"].calibration))
    pairs = (("text", own.vectors, seen.refusal.vectors), (arm, drift.vectors, seen.drifts[arm].vectors))
    for where, one, other in pairs:
        cosines = (one * other).sum(-1) / (one.norm(dim=-1) * other.norm(dim=-1))
        for layer, value in zip(own.layers, cosines.tolist(), strict=True):
            gap = {"low": float("nan"), "high": float("nan")}
            known = {"direction": "run", "arm": where, "layer": layer, "measure": "cosine"}
            yield {**known, "value": value, **gap, "n": fewest}


def _shares(
    seen: Measured, arm: str, pairs: Pairs, stored: dict[str, Edit], seed: int
) -> Iterator[dict[str, Any]]:
    asked: dict[str, dict[str, Sequence[Edit]]] = {
        "text": {BASELINE: []},
        arm: {BASELINE: [], **{name: [edit] for name, edit in stored.items()}},
    }
    here = replace(seen, pairs=pairs)  # judge and transcriptions are those of these pairs
    for where, conditions in asked.items():
        for condition, judged in here.answers(where, conditions, pairs).items():
            for measure, share in outcomes(judged, seed).items():
                yield {"condition": condition, "arm": where, "measure": measure, **vars(share)}
