"""What each part of each layer does for refusal: it is replaced, and the change is measured on the same prompts.

Every number is after minus before, over test pairs, with an interval from a bootstrap clustered by pair; harmful and
harmless apart. Controls stand in the same table: `random` moves what is written to as far, in a random direction;
`self` patches a run with itself, where nothing may change.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from regap.analyses.ablation.cells import AblationCell, AblationRequest, cells_of
from regap.analyses.ablation.readings import AblationReadings, readings
from regap.analyses.judges.registry import judge_for
from regap.analyses.judges.verdicts import judge_all
from regap.analyses.outcomes import difference
from regap.analyses.runs.calibrated import are_harmful, find_refusal_tokens
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.folder import RunFolder, check_out
from regap.analyses.runs.measured import Measured, chosen_arms, measure_model
from regap.analyses.runs.opened import reopen
from regap.analyses.runs.pairs import pairs_of
from regap.analyses.runs.progress import Tracker, silent
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import load_model, open_folder
from regap.analyses.statistics import paired_difference
from regap.errors import ConfigError
from regap.geometry.data.pairs import Label, Pairs
from regap.geometry.estimates import Resamples, estimates, mean_draws
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import collate
from regap.interventions.edits.patching import require_parts_add_up

JUDGED = (
    ("harmful", "attack_success"),
    ("harmful", "refusal"),
    ("harmless", "over_refusal"),
    ("harmless", "utility"),
)
NO_LAYER = -1
"""read_layer of what is read off the answer and not off a layer."""


def ablate(
    config: RunConfig, wanted: AblationRequest, *, again: bool = False, track: Tracker = silent
) -> RunFolder:
    """Return the run folder with the table `ablation`.

    again: the folder is that of a finished run, whose states and answers are used. What is wanted is checked before
    a model is run; ablations that the folder holds already are not run again.
    """
    seen, folder = observed_in(config, wanted.check, again=again, track=track)
    run(seen, wanted, folder.path, track).save(folder.path)
    return folder


def observed_in(
    config: RunConfig, check: Callable[[Model], None], *, again: bool, track: Tracker = silent
) -> tuple[Measured, RunFolder]:
    """Return the model on its pairs, observed in a finished run or anew, and the run folder."""
    path = Path(config.out)
    if again:
        return reopen(path, config, track, check).measure_model(track), RunFolder(path)
    check_out(path, None)
    pairs = pairs_of(config).require_both_labels()
    chosen_arms(pairs, config)
    judge_for(pairs, config.judge)
    model = load_model(config, config.model)
    check(model)
    folder, pairs = open_folder(config, model, pairs, track)
    seen = measure_model(model, pairs, config, folder.path, track)
    folder.write_directions(seen.refusal, dict(seen.drifts), model)
    return seen, folder


def run(
    seen: Measured, wanted: AblationRequest, folder: Path | None = None, track: Tracker = silent
) -> Record:
    """Return the table `ablation` of every arm that something wanted applies to."""
    if {"attention", "mlp", "head"} & set(wanted.components):
        one = next(iter(seen.pairs.calibration.where(arm="text"))).prompts["text"]
        require_parts_add_up(seen.model, collate(seen.model, [one], [0]), wanted.layers_of(seen.model))
    tokens = find_refusal_tokens(seen, folder, track)
    rows: list[dict[str, Any]] = []
    for arm in dict.fromkeys(("text", seen.image_arm)):
        cells = cells_of(seen, wanted, arm, track)
        if not cells:
            continue
        asked = seen.pairs.test.where(arm=arm)
        after, before = readings(seen, arm, cells, tokens, folder, track)
        found = list(_read_rows(seen, asked, cells, after, before))
        if wanted.answers:
            found += _judged_rows(seen, arm, asked, cells, folder, track)
        rows += [{**row, "arm": arm} for row in found]
    if not rows:
        raise ConfigError(
            "nothing of this can be ablated: no arm has these positions and replacements; choose others"
        )
    return Record("ablation", pd.DataFrame(rows).assign(model=seen.model.name))


def _read_rows(
    seen: Measured,
    asked: Pairs,
    cells: Sequence[AblationCell],
    after: AblationReadings,
    before: AblationReadings,
) -> Iterator[dict[str, Any]]:
    """Yield changes of z at the ablated layer and all after it, of log-odds, and of refusals by first token."""
    last, harmful = seen.model.layers - 1, are_harmful(asked)
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
            yield {**known, "measure": "log_odds", "read_layer": NO_LAYER, **vars(odds)}
            pair = (before.first[place][mask].bool(), after.first[place][mask].bool())
            refused = paired_difference(*pair, own, seen.config.seed)
            yield {**known, "measure": "first_token", "read_layer": NO_LAYER, **vars(refused)}


def _judged_rows(
    seen: Measured, arm: str, asked: Pairs, cells: Sequence[AblationCell], folder: Path | None, track: Tracker
) -> Iterator[dict[str, Any]]:
    """Yield changes of judged shares; controls are left out, since each costs as much as the rest."""
    some, judge = asked.first(seen.config.dose_pairs), judge_for(seen.pairs, seen.config.judge)
    chosen = [cell for cell in cells if cell.control == "none"]
    conditions = {"": [], **{cell.title: [cell.edit] for cell in chosen}}
    advance = track(f"answers, {arm}, {len(conditions)} conditions", len(some) * len(conditions))
    answers = seen.generate(some, arm, conditions, folder, advance)
    judged = {name: judge_all(judge, some, each) for name, each in answers.items()}
    for cell in chosen:
        for label, measure in JUDGED:
            if any(one.pair.label == label and one.verdict != "not_judged" for one in judged[""]):
                change = difference(judged[""], judged[cell.title], measure, seen.config.seed)
                yield {**cell.row, "label": label, "measure": measure, "read_layer": NO_LAYER, **vars(change)}
