"""Corrections and rivals over models: each measure's mean, and its difference to one correction on the same model."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from regap.analyses.across_models.runs import ModelRun
from regap.analyses.across_models.statistics import over_models
from regap.analyses.runs.records import Record
from regap.errors import ConfigError
from regap.geometry.estimates import Estimate

MEASURES = ("attack_success", "over_refusal", "contrast_over_refusal", "utility", "auroc_z", "auroc_rho")


def shares_of(run: ModelRun) -> pd.DataFrame:
    """Return condition, measure and value of every correction at image tokens and of every compared method.

    A method that was compared is called by its name after `rival: `.
    """
    tables = []
    if (table := run.table("image_tokens")) is not None:
        tables.append(table[table["arm"] == run.arm].rename(columns={"condition": "correction"}))
    if (table := run.table("methods")) is not None:
        tables.append(table.assign(correction="rival: " + table["method"]))
    if not tables:
        raise ConfigError(
            f"run {run.folder} has no corrections to compare; ask it too: regap image-tokens {run.folder}"
        )
    found = pd.concat(tables)[["correction", "measure", "value", "low", "high", "n"]]
    found = found[found["measure"].isin(MEASURES)]
    return found.drop_duplicates(["correction", "measure"]).assign(model=run.name)


def correction_records(runs: Sequence[ModelRun], against: str) -> list[Record]:
    """Return the tables of corrections by model, over models, and of differences to the correction `against`.

    Raises ConfigError if a run has not tried it.
    """
    every = pd.concat([shares_of(run) for run in runs])
    tried = every[every["correction"] == against]["model"].nunique()
    if tried < len(runs):
        known = ", ".join(dict.fromkeys(every["correction"]))
        raise ConfigError(
            f"against is {against!r}, which {tried} of {len(runs)} runs have tried; choose among {known}"
        )
    means = [
        {"correction": key[0], "measure": key[1], **_within(over_models(own["value"].tolist()).mean, 0.0)}
        for key, own in every.groupby(["correction", "measure"], sort=False)
    ]
    return [
        Record("model_corrections", every),
        Record("corrections_across_models", pd.DataFrame(means)),
        Record("correction_differences", pd.DataFrame(list(_differences(every, against)))),
    ]


def _differences(every: pd.DataFrame, against: str) -> Iterator[dict[str, Any]]:
    """Yield the mean of `against` minus each other correction over models, and on how many models it is lower."""
    wide = every.pivot(index="model", columns=["measure", "correction"], values="value")
    for measure, correction in wide.columns:
        if correction == against or (measure, against) not in wide.columns:
            continue
        change = (wide[measure, against] - wide[measure, correction]).dropna()
        found = over_models(change.tolist())
        yield {
            "against": against,
            "correction": correction,
            "measure": measure,
            "lower": int((change < 0).sum()),
            "higher": int((change > 0).sum()),
            "p": found.p,
            **_within(found.mean, -1.0),
        }


def _within(found: Estimate, lowest: float) -> dict[str, Any]:
    """Return the estimate of a share, or of a change of one, without the part of its interval that cannot be."""
    low, high = np.clip([found.low, found.high], lowest, 1.0).tolist()  # NaN stays NaN
    return vars(found) | {"low": low, "high": high}
