"""The effect of each component of each layer on refusal: replace it, and measure the change on the same prompts.

Every number is after minus before, on test pairs, with an interval from a bootstrap clustered by pair, separately for
harmful and harmless. Controls are in the same table: `random` moves the state as far, but in a random direction;
`self` patches a run with itself, which must change nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import torch

from regap.analyses.ablation.attention import attention_record
from regap.analyses.ablation.cells import AblationCell, AblationRequest, cells_of
from regap.analyses.ablation.readings import AblationReadings, readings, refusal_tokens
from regap.analyses.outcomes import difference
from regap.analyses.runs.config import RunConfig, changed_config
from regap.analyses.runs.measured import Measured, are_harmful, measure_model
from regap.analyses.runs.questions import Question, save_answer
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import Run
from regap.analyses.statistics import paired_difference
from regap.errors import ConfigError
from regap.geometry.data.pairs import Label, Pairs
from regap.geometry.estimates import Resamples, estimates, mean_draws
from regap.geometry.forward.runner import Runner
from regap.geometry.models.loading import Model
from regap.geometry.one_or_several import as_layers, as_names
from regap.geometry.prompts.batch import collate
from regap.geometry.sole_writer import sole_writer
from regap.interventions.edits.ablation import require_parts_add_up

JUDGED = (
    ("harmful", "attack_success"),
    ("harmful", "refusal"),
    ("harmless", "over_refusal"),
    ("harmless", "utility"),
)
NO_LAYER = -1
"""read_layer of measures that are read from the answer and not from a layer."""


def ablate_run(run: Run, wanted: AblationRequest) -> Question:
    """Return the answer of a run to these ablations: the table `ablation`, stored in the run folder.

    Where heads no longer read tokens, also the table `attention`: how much they read of them. Stored ablations are not
    run again.
    """
    with sole_writer(run.folder):
        records = [ablation_record(run.measured, wanted)]
        records += [attention_record(run.measured)] if "unread" in wanted.replacements else []
        return save_answer(run.folder, "ablate", asdict(wanted), records)


def ablate(
    model: Model | Runner,
    pairs: Pairs,
    *,
    components: Sequence[str] | str = ("attention", "mlp", "block"),
    replacements: Sequence[str] | str = ("mean", "patch-text"),
    layers: Sequence[int] | int | None = None,
    heads: Sequence[int] | int | None = None,
    positions: Sequence[str] | str = "last",
    together: bool = False,
    controls: bool = True,
    answers: bool = False,
    image_arm: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the effect of each component of each layer on refusal: changes on the same test pairs, with intervals.

    components: attention, mlp, block, head, state or direction. replacements: zero, mean, resample, patch-text,
    patch-image or unread (heads at the last token, without what they read from the tokens that carry the request).
    layers, heads: 0-based, all by default. Each of these may be one value or several. Columns are those of the table
    `ablation`; `value` is after minus before. Nothing is written unless the model is a runner with a store. Raises
    ConfigError for components that the model does not have.
    Only changes of z are measured if the model refuses no calibration text.
    """
    wanted = AblationRequest(
        as_names(components, "components"),
        as_names(replacements, "replacements"),
        () if layers is None else as_layers(layers),
        () if heads is None else as_layers(heads, "heads"),
        as_names(positions, "positions"),
        together=together,
        controls=controls,
        answers=answers,
    )
    runner = Runner.of(model)
    wanted.check(runner.model)
    config = changed_config(RunConfig.model_validate({}), image_arm=image_arm, seed=seed)
    return ablation_record(measure_model(runner, Pairs.of(pairs), config), wanted).table


def ablation_record(seen: Measured, wanted: AblationRequest) -> Record:
    """Return the table `ablation` for every arm to which a requested ablation applies."""
    if {"attention", "mlp", "head"} & set(wanted.components):
        one = next(iter(seen.pairs.calibration.where(arm="text"))).prompts["text"]
        require_parts_add_up(seen.model, collate(seen.model, [one], [0]), wanted.layers_of(seen.model))
    rows: list[dict[str, Any]] = []
    for arm in dict.fromkeys(("text", seen.corrected_arm)):
        cells = cells_of(seen, wanted, arm) if arm else []
        if not arm or not cells:
            continue
        asked = seen.pairs.test.where(arm=arm)
        after, before = readings(seen, arm, cells)
        found = list(_read_rows(seen, asked, cells, after, before))
        if wanted.answers:
            found += _judged_rows(seen, arm, asked, cells)
        rows += [{**row, "arm": arm} for row in found]
    if not rows:
        raise ConfigError(
            "no arm has these positions and replacements, so nothing can be ablated; choose others"
        )
    return Record("ablation", pd.DataFrame(rows).assign(model=seen.model.name))


def _read_rows(
    seen: Measured,
    asked: Pairs,
    cells: Sequence[AblationCell],
    after: AblationReadings,
    before: AblationReadings,
) -> Iterator[dict[str, Any]]:
    """Yield changes of z at the ablated and all later layers, of log-odds, and of refusals by first token.

    The latter two are left out if the model refuses nothing.
    """
    last, harmful, tokens = seen.model.layers - 1, are_harmful(asked), refusal_tokens(seen)
    clusters = [pair.cluster for pair in asked]
    labels: dict[Label, torch.Tensor] = {"harmful": harmful, "harmless": ~harmful}
    for label, mask in labels.items():
        own = [cluster for cluster, kept in zip(clusters, mask.tolist(), strict=True) if kept]
        one = torch.ones(len(own), dtype=torch.bool)
        weights = Resamples.of(own, one, seen.config.resamples, seen.config.seed).weights
        for place, cell in enumerate(cells):
            known = {**cell.row, "label": label}
            first = last if cell.name == "head" else min(cell.edit.site.layers)
            columns = (after.z[place] - before.z[place])[mask, first:]
            columns = torch.cat([columns, (after.log_odds[place] - before.log_odds[place])[mask, None]], 1)
            *z, odds = estimates(mean_draws(columns, weights), len(own))
            for layer, change in enumerate(z, first):
                yield {**known, "measure": "z", "read_layer": layer, **vars(change)}
            if not tokens:
                continue
            yield {**known, "measure": "log_odds", "read_layer": NO_LAYER, **vars(odds)}
            pair = (before.first[place][mask].bool(), after.first[place][mask].bool())
            refused = paired_difference(*pair, own, seen.config.seed)
            yield {**known, "measure": "first_token", "read_layer": NO_LAYER, **vars(refused)}


def _judged_rows(
    seen: Measured, arm: str, asked: Pairs, cells: Sequence[AblationCell]
) -> Iterator[dict[str, Any]]:
    """Yield changes of judged shares; controls are left out, since their answers would double the cost."""
    some = asked.first(seen.config.dose_pairs)
    chosen = [cell for cell in cells if cell.control == "none"]
    conditions = {"": [], **{cell.title: [cell.edit] for cell in chosen}}
    judged = seen.answers(arm, conditions, some)
    for cell in chosen:
        for label, measure in JUDGED:
            if any(one.pair.label == label and one.verdict != "not_judged" for one in judged[""]):
                change = difference(judged[""], judged[cell.title], measure, seen.config.seed)
                yield {**cell.row, "label": label, "measure": measure, "read_layer": NO_LAYER, **vars(change)}
