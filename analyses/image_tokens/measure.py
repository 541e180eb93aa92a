"""What the removal of the drift at image tokens does to whole answers on test pairs, beside controls."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from regap.analyses.calibration.budgets import Budgets
from regap.analyses.claims.claim import claims_record
from regap.analyses.comparison.tables import CONTRAST, MEASURES
from regap.analyses.image_tokens.choice import ImageTokenChoice, choose_at_image_tokens
from regap.analyses.image_tokens.claims import claims_at_image_tokens
from regap.analyses.image_tokens.conditions import Condition, conditions_of
from regap.analyses.image_tokens.evidence import signal_of
from regap.analyses.image_tokens.variants import Variant, check_another, of_another_model, variants_of
from regap.analyses.judges.verdicts import Judged
from regap.analyses.outcomes import outcomes
from regap.analyses.runs.config import changed_config
from regap.analyses.runs.measured import Measured, are_harmful
from regap.analyses.runs.pairs import contrasts_of, divided_contrasts
from regap.analyses.runs.questions import Question, save_answer
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import Run
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pairs
from regap.geometry.estimates import Resamples, estimate, exact_if_constant
from regap.geometry.separability import auroc, rarer_clusters
from regap.geometry.sole_writer import sole_writer
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.stored import load_edit
from regap.interventions.sweep import sweep


def image_tokens_run(
    run: Run,
    *,
    layers: Sequence[int] = (),
    random: int = 20,
    contrast: str | None = None,
    within: Budgets | None = None,
    variants: bool = False,
    another: Sequence[Run] = (),
) -> Question:
    """Return the answer of a run: the table `image_tokens` and two claims, stored in the run folder.

    layers: blocks that are tried at image tokens; by default the first half. random: number of random vectors.
    contrast: harmless prompts that look harmful, by name, besides those of the run. within: budgets within which
    corrections are chosen besides those of the run; contrasts of the calibration split then take part. variants: also
    other displacements than the drift, and maps. another: runs of other models of the same shape, whose drifts are
    removed here too. Raises what `choose_at_image_tokens` raises, and ConfigError for budgets without contrasts, and
    for a model of another shape.
    """
    own = changed_config(run.config, contrast=contrast) if contrast else run.config
    if within and own.contrast is None:
        raise ConfigError("budgets of contrasts need contrasts; name them too, such as --contrast world")
    with sole_writer(run.folder):
        seen = run.measured
        calibrating, contrasts = None, run.asked.contrasts
        if within:
            calibrating, contrasts = divided_contrasts(own, run.pairs, seen.image_arm)
        elif contrast:
            contrasts = contrasts_of(own, run.pairs, seen.image_arm)
        for other in another:
            check_another(seen, other.runner.model)
        chosen = choose_at_image_tokens(seen, late_of(run), layers, within, calibrating)
        others = variants_of(seen, chosen) if variants else []
        others += [_of_another(seen, chosen, other) for other in another]
        records = image_tokens_records(seen, chosen, contrasts, random, others)
        settings = {"layers": tuple(layers), "random": random, "contrast": own.contrast, "variants": variants}
        settings |= {"within": astuple(within)} if within else {}
        settings |= {"another": [one.runner.model.fingerprint for one in another]} if another else {}
        edits = {name: (edit, seen.model.fingerprint) for name, edit in chosen.corrections.items()}
        return save_answer(run.folder, "image-tokens", settings, records, edits)


def _of_another(seen: Measured, chosen: ImageTokenChoice, other: Run) -> Variant:
    with sole_writer(other.folder):  # states of its tokens are kept with it
        return of_another_model(seen, chosen, other.measured)


def late_of(run: Run) -> Shift:
    """Return the run's fixed correction of the last token: the stored one, else chosen on calibration pairs."""
    stored = Path(run.folder, "edits", "fixed")
    return load_edit(stored, run.runner.model) if stored.is_dir() else run.calibrated.fixed


def image_tokens_records(
    seen: Measured,
    chosen: ImageTokenChoice,
    contrasts: Pairs | None,
    random: int,
    variants: Sequence[Variant] = (),
) -> list[Record]:
    """Return the tables: shares of whole answers, how well z and its change tell harmful ones, and the claims.

    Claims 3 and 4 are judged here for the drift at image tokens, by their own criteria.
    """
    conditions = list(conditions_of(seen, chosen, random, variants))
    judged, signals = _answers(seen, conditions), _signals(seen, chosen, conditions)
    rows = [*_answer_rows(seen, judged), *_signal_rows(seen, signals)]
    if contrasts is not None:
        image = [one for one in conditions if one.arm == seen.image_arm]
        rows += _answer_rows(seen, _answers(seen, image, contrasts), are_contrasts=True)
    claims = claims_at_image_tokens(
        seen,
        chosen,
        judged,
        signals,
        random,
    )
    table = Record("image_tokens", pd.DataFrame(rows).assign(model=seen.model.name))
    judgements = claims_record([claim.about(seen.image_arm) for claim in claims], "image_token_claims")
    return [table, judgements, *([variants_record(seen, variants)] if variants else [])]


def variants_record(seen: Measured, variants: Sequence[Variant]) -> Record:
    """Return the table of what each variant removes, and why one was left out."""
    rows = [{"vector": one.name, "title": one.title, "reason": one.reason} for one in variants]
    known = {"model": seen.model.name, "arm": seen.image_arm}
    return Record("image_token_variants", pd.DataFrame(rows).assign(**known))


def _answers(
    seen: Measured, conditions: Sequence[Condition], contrasts: Pairs | None = None
) -> dict[Condition, Sequence[Judged]]:
    """Return judged whole answers to test pairs, or to contrasts, under each condition."""
    found: dict[Condition, Sequence[Judged]] = {}
    for arm in dict.fromkeys(one.arm for one in conditions):
        own = [one for one in conditions if one.arm == arm]
        judged = seen.answers(arm, {one.name: list(one.edits) for one in own}, contrasts)
        found |= {one: judged[one.name] for one in own}
    return found


def _answer_rows(
    seen: Measured, judged: Mapping[Condition, Sequence[Judged]], are_contrasts: bool = False
) -> list[dict[str, Any]]:
    """Return shares of whole answers, or of refused contrasts."""
    return [
        {**one.key, **row}
        for one, answers in judged.items()
        for row in _shares(answers, seen.config.seed, are_contrasts)
    ]


def _shares(judged: Sequence[Judged], seed: int, are_contrasts: bool) -> Iterator[dict[str, Any]]:
    found = outcomes(judged, seed)
    if are_contrasts:
        yield {"measure": CONTRAST, **vars(found["over_refusal"])}
        return
    for measure in MEASURES:
        if measure in found:
            yield {"measure": measure, **vars(found[measure])}


def _signals(
    seen: Measured, chosen: ImageTokenChoice, conditions: Sequence[Condition]
) -> dict[Condition, Tensor]:
    """Return z over the read layers of each test image, for fixed edits of images."""
    arm = seen.image_arm
    fixed = [one for one in conditions if one.arm == arm and one.fixed]
    runner = seen.runner.named("reading z under removals at image tokens")
    edits = [list(one.edits) for one in fixed]
    found = sweep(runner, seen.pairs.test, arm, edits, seen.refusal, chosen.read_layers)
    return dict(zip(fixed, signal_of(found), strict=True))


def _signal_rows(seen: Measured, signals: Mapping[Condition, Tensor]) -> list[dict[str, Any]]:
    """Return AUROC of z over the read layers and of its change (self-rectification)."""
    asked = seen.pairs.test.where(arm=seen.image_arm)
    harmful, clusters = are_harmful(asked), [pair.cluster for pair in asked]
    trials = rarer_clusters(clusters, harmful)
    weights = Resamples.of(clusters, harmful, seen.config.resamples, seen.config.seed).weights

    def told(one: Condition, measure: str, signal: Tensor) -> dict[str, Any]:
        drawn = auroc(signal[:, None], harmful, weights)[:, 0]
        return {**one.key, "measure": measure, **vars(exact_if_constant(estimate(drawn, len(asked)), trials))}

    before = next(signal for one, signal in signals.items() if not one.edits)
    rows = []
    for one, signal in signals.items():
        rows.append(told(one, "auroc_z", signal))
        if one.edits and one.layer >= 0:
            rows.append(told(one, "auroc_rho", signal - before))
    return rows
