"""What the removal of the drift at image tokens does to whole answers on test pairs, beside controls."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from regap.analyses.comparison.tables import CONTRAST, MEASURES
from regap.analyses.image_tokens.choice import (
    ImageTokenChoice,
    choose_at_image_tokens,
    signal_of,
)
from regap.analyses.judges.verdicts import Judged
from regap.analyses.outcomes import outcomes
from regap.analyses.runs.config import changed_config
from regap.analyses.runs.measured import Measured, are_harmful
from regap.analyses.runs.pairs import contrasts_of
from regap.analyses.runs.questions import Question, save_answer
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import Run
from regap.geometry.data.pairs import Pairs
from regap.geometry.drift import Drift, random_orthogonal, shuffled_pairs
from regap.geometry.estimates import Resamples, estimate, exact_if_constant
from regap.geometry.forward.hooks import Edit
from regap.geometry.separability import auroc
from regap.geometry.sole_writer import sole_writer
from regap.interventions.edits.shift import Shift, shift
from regap.interventions.edits.stored import load_edit
from regap.interventions.sweep import sweep

DOSES = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Multiples of the drift at the chosen block; a shift of modality is undone by 1, and overshoots beyond it."""


@dataclass(frozen=True, eq=False)
class Condition:
    """One row of the table: edits in one arm, and what they are."""

    name: str
    edits: tuple[Edit, ...] = field(repr=False)
    arm: str
    vector: str = "none"
    layer: int = -1
    """The block of the removal at image tokens, -1 for none."""
    alpha: float = 0.0
    """The strength of that removal; negative: added."""

    @property
    def fixed(self) -> bool:
        """True if every prompt is edited alike."""
        return all(isinstance(edit, Shift) for edit in self.edits)

    @property
    def key(self) -> dict[str, Any]:
        """Its cells in the table."""
        names = ("arm", "vector", "layer", "alpha")
        return {"condition": self.name, **{name: getattr(self, name) for name in names}}


def image_tokens_run(
    run: Run, *, layers: Sequence[int] = (), random: int = 20, contrast: str | None = None
) -> Question:
    """Return the answer of a run: the table `image_tokens`, stored in the run folder.

    layers: blocks that are tried at image tokens; by default the first half. random: number of random vectors.
    contrast: harmless prompts that look harmful, by name, besides those of the run. Raises what
    `choose_at_image_tokens` raises.
    """
    with sole_writer(run.folder):
        seen = run.measured
        contrasts = run.asked.contrasts
        if contrast:
            own = changed_config(run.config, contrast=contrast)
            contrasts = contrasts_of(own, run.pairs, seen.image_arm)
        chosen = choose_at_image_tokens(seen, late_of(run), layers)
        record = image_tokens_record(seen, chosen, contrasts, random)
        settings = {"layers": tuple(layers), "random": random, "contrast": contrast or run.config.contrast}
        return save_answer(run.folder, "image-tokens", settings, [record])


def late_of(run: Run) -> Shift:
    """Return the run's fixed correction of the last token: the stored one, else chosen on calibration pairs."""
    stored = Path(run.folder, "edits", "fixed")
    return load_edit(stored, run.runner.model) if stored.is_dir() else run.calibrated.fixed


def image_tokens_record(
    seen: Measured, chosen: ImageTokenChoice, contrasts: Pairs | None, random: int
) -> Record:
    """Return the table: shares of whole answers and, for fixed edits, how well z and its change tell harmful ones."""
    conditions = list(conditions_of(seen, chosen, random))
    rows = [*_answer_rows(seen, conditions), *_signal_rows(seen, chosen, conditions)]
    if contrasts is not None:
        image = [one for one in conditions if one.arm == seen.image_arm]
        rows += _answer_rows(seen, image, contrasts)
    return Record("image_tokens", pd.DataFrame(rows).assign(model=seen.model.name))


def conditions_of(seen: Measured, chosen: ImageTokenChoice, random: int) -> Iterator[Condition]:
    """Yield all conditions: corrections, doses of the drift, other vectors as long, and the drift added to text."""
    arm, early = seen.image_arm, chosen.alone
    yield Condition("nothing", (), arm)
    yield Condition("last token", (chosen.late,), arm)
    yield Condition("gate alone", (chosen.gate_alone,), arm)
    probe = chosen.one_pass.probe
    both = (probe.site.layers[0], probe.strength)
    yield Condition("one pass", (chosen.one_pass,), arm, "D", *both)
    for alpha in DOSES:
        edit = chosen.early(strength=alpha)
        yield Condition(f"image tokens, {alpha:g} D", (edit,), arm, "D", early.block, alpha)
    for name, drift in other_vectors(seen, chosen, random):
        edit = chosen.early(drift=drift)
        yield Condition(f"image tokens, {name}", (edit,), arm, name, early.block, early.strength)
    yield Condition("nothing", (), "text")
    added = shift(chosen.drift, [early.block], -early.strength, positions="request")
    yield Condition("request tokens, D added", (added,), "text", "D", early.block, -early.strength)


def other_vectors(seen: Measured, chosen: ImageTokenChoice, random: int) -> Iterator[tuple[str, Drift]]:
    """Yield controls as long as the drift: random vectors, and the drift after swapping roles in half of the pairs."""
    seed = seen.config.seed
    for number in range(random):
        yield f"random {number}", random_orthogonal(chosen.drift, seen.refusal, seed + number)
    yield "shuffled", shuffled_pairs(chosen.drift, chosen.text, chosen.image, seed)


def _answer_rows(
    seen: Measured, conditions: Sequence[Condition], contrasts: Pairs | None = None
) -> list[dict[str, Any]]:
    """Return shares of whole answers on test pairs, or of refused contrasts."""
    rows: list[dict[str, Any]] = []
    for arm in dict.fromkeys(one.arm for one in conditions):
        own = [one for one in conditions if one.arm == arm]
        judged = seen.answers(arm, {one.name: list(one.edits) for one in own}, contrasts)
        for one in own:
            rows += [
                {**one.key, **row}
                for row in _shares(judged[one.name], seen.config.seed, contrasts is not None)
            ]
    return rows


def _shares(judged: Sequence[Judged], seed: int, are_contrasts: bool) -> Iterator[dict[str, Any]]:
    found = outcomes(judged, seed)
    if are_contrasts:
        yield {"measure": CONTRAST, **vars(found["over_refusal"])}
        return
    for measure in MEASURES:
        if measure in found:
            yield {"measure": measure, **vars(found[measure])}


def _signal_rows(
    seen: Measured, chosen: ImageTokenChoice, conditions: Sequence[Condition]
) -> list[dict[str, Any]]:
    """Return, for fixed edits of images, AUROC of z over the read layers and of its change (self-rectification)."""
    arm = seen.image_arm
    asked = seen.pairs.test.where(arm=arm)
    fixed = [one for one in conditions if one.arm == arm and one.fixed]
    runner = seen.runner.named("reading z under removals at image tokens")
    signals = signal_of(
        sweep(runner, asked, arm, [list(one.edits) for one in fixed], seen.refusal, chosen.read_layers)
    )
    harmful, clusters = are_harmful(asked), [pair.cluster for pair in asked]
    trials = min(
        len({cluster for cluster, each in zip(clusters, harmful.tolist(), strict=True) if each is label})
        for label in (True, False)
    )
    weights = Resamples.of(clusters, harmful, seen.config.resamples, seen.config.seed).weights

    def told(one: Condition, measure: str, signal: Tensor) -> dict[str, Any]:
        drawn = auroc(signal[:, None], harmful, weights)[:, 0]
        return {**one.key, "measure": measure, **vars(exact_if_constant(estimate(drawn, len(asked)), trials))}

    before = signals[[bool(one.edits) for one in fixed].index(False)]
    rows = []
    for one, signal in zip(fixed, signals, strict=True):
        rows.append(told(one, "auroc_z", signal))
        if one.edits and one.layer >= 0:
            rows.append(told(one, "auroc_rho", signal - before))
    return rows
