"""Put finished runs of several models together: claims and corrections with the models as units."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from regap.analyses.across_models.claims import claim_records, model_claims
from regap.analyses.across_models.corrections import correction_records
from regap.analyses.across_models.runs import model_runs, runs_of_subjects, with_comparisons
from regap.analyses.runs.records import Record

AGAINST = "one pass"
"""The correction that the others are compared with."""


def across_models(
    folders: Sequence[Path | str], out: Path, against: str = AGAINST, compared: Sequence[Path | str] = ()
) -> list[Record]:
    """Return the tables of these runs together, and write them to OUT/tables; no model is run.

    against: the correction that others are compared with, where the runs were asked for corrections. compared: folders
    of `regap compare` on the same models and test prompts. Raises what `model_runs`, `with_comparisons` and
    `correction_records` raise.
    """
    runs = with_comparisons(model_runs(folders), compared)
    records = claim_records(runs)
    if any(run.table("image_tokens") is not None for run in runs):
        records += correction_records(runs, against)
    for record in records:
        record.save(out)
    return records


def claims_beside(folders: Sequence[Path | str], out: Path) -> Record:
    """Return the claims of runs on different subjects, a row for each run, claim and site; they are in OUT/tables too.

    Nothing is pooled: the subjects have different requests. Raises what `runs_of_subjects` raises.
    """
    rows = [{**one.row, "arm": run.arm} for run in runs_of_subjects(folders) for one in model_claims(run)]
    record = Record("subject_claims", pd.DataFrame(rows))
    record.save(out)
    return record
