"""How much each head attends from the last token to the tokens that carry the request: image, sound or words."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from regap.analyses.runs.measured import Measured, are_harmful
from regap.analyses.runs.records import Record
from regap.geometry.data.pairs import Label, Pairs
from regap.geometry.estimates import Resamples, estimates, mean_draws
from regap.geometry.forward.batches import run_batches
from regap.geometry.models.submodule_hooks import heads_of
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.positions import carrier_of
from regap.interventions.edits.unread import readings_of


def attention_record(seen: Measured) -> Record:
    """Return the table `attention`: for every block and head, in words and in the corrected arm.

    mass: share of the attention from the last token to those tokens, a mean over test prompts. even: their share of
    all tokens of the prompt, which is the mass of a head that attends to all alike. Raises ModelError for a model whose
    heads cannot be read.
    """
    rows: list[dict[str, Any]] = []
    for arm in dict.fromkeys(("text", seen.corrected_arm)):
        if arm:
            rows += [{**row, "arm": arm} for row in _rows(seen, seen.pairs.test.where(arm=arm), arm)]
    return Record("attention", pd.DataFrame(rows).assign(model=seen.model.name))


def masses(seen: Measured, asked: Pairs, arm: str) -> Float[Tensor, "prompt layer head_and_even"]:
    """Return the mass of every head of every block, and last the even share; NaN for cross-attention blocks."""
    model, limits, reads = seen.model, seen.runner.limits, carrier_of(arm)
    found = torch.full((len(asked), model.layers, heads_of(model) + 1), torch.nan, dtype=torch.float64)

    def read(batch: Batch) -> None:
        where, rows = batch.at(reads).cpu(), list(batch.rows)
        even = where.sum(1) / batch.real.cpu().sum(1)
        for layer, reading in readings_of(model, batch).items():
            found[rows, layer, :-1] = reading.mass(where).double()
            found[rows, layer, -1] = even.double()

    prompts = [pair.prompts[arm] for pair in asked]
    advance = seen.runner.track(f"attention of the last token, {arm}", len(prompts))
    run_batches(model, prompts, limits.prompts, limits.tokens, read, advance)
    return found


def _rows(seen: Measured, asked: Pairs, arm: str) -> Iterator[dict[str, Any]]:
    found, harmful = masses(seen, asked, arm), are_harmful(asked)
    labels: dict[Label, Tensor] = {"harmful": harmful, "harmless": ~harmful}
    for label, mask in labels.items():
        own = [pair.cluster for pair, kept in zip(asked, mask.tolist(), strict=True) if kept]
        one = torch.ones(len(own), dtype=torch.bool)
        weights = Resamples.of(own, one, seen.config.resamples, seen.config.seed).weights
        for layer in range(seen.model.layers):
            if bool(found[:, layer].isnan().any()):
                continue
            *heads, even = estimates(mean_draws(found[mask, layer], weights), len(own))
            known = {"layer": layer, "reads": carrier_of(arm), "label": label}
            for head, estimate in enumerate(heads):
                yield {**known, "head": head, "measure": "mass", **vars(estimate)}
            yield {**known, "head": -1, "measure": "even", **vars(even)}
