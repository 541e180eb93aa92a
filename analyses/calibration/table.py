"""All recipes that were tried on calibration pairs as a table: what each does there, which was chosen, and why."""

from collections.abc import Iterable

import pandas as pd

from regap.analyses.calibration.choice import Choice, Trial
from regap.analyses.runs.records import Record


def recipes_record(choices: Iterable[Choice], model: str, arm: str) -> Record:
    """Return one row per budget and recipe, best first: its fitted threshold and its shares of refusals."""
    rows = [
        {**_row(trial), "budget": choice.budget, "chosen": trial is choice.winner, "why": why}
        for choice in choices
        for trial in choice.trials
        for why in [choice.why if trial is choice.winner else ""]
    ]
    return Record("recipes", pd.DataFrame(rows).assign(model=model, arm=arm))


def _row(trial: Trial) -> dict[str, object]:
    recipe = trial.recipe
    return {
        "recipe": str(recipe),
        "signal": recipe.signal,
        "read": ",".join(str(layer) for layer in recipe.read_layers),
        "probe": str(recipe.probe),
        "correction": str(recipe.correction),
        "passes": recipe.passes,
        "readings": recipe.readings,
        "fitted": recipe.fitted,
        "threshold": trial.gate.threshold,
        "refusal": trial.on_harmful,
        "over_refusal": trial.on_harmless,
    }
