"""Finished runs of several models on the same requests, read from their tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from regap.analyses.runs.folder import provenance_of
from regap.analyses.runs.records import Record, Summary, table_path
from regap.errors import ConfigError


@dataclass(frozen=True, eq=False)
class ModelRun:
    """The finished run of one model."""

    name: str
    """The name of its folder."""
    folder: Path
    arm: str
    """The corrected arm."""
    fingerprint: str = field(repr=False)

    def table(self, name: str) -> pd.DataFrame | None:
        """Return this table of the run, None if it has none."""
        return Record.load(self.folder, name).table if table_path(self.folder, name).is_file() else None

    def needed(self, name: str) -> pd.DataFrame:
        """Return this table of the run; raises FileNotFoundError with the command that makes it."""
        return Record.load(self.folder, name).table


def model_runs(folders: Sequence[Path | str]) -> tuple[ModelRun, ...]:
    """Return the runs of these folders, in order.

    Raises ConfigError for less than two, for two runs of one model or two folders of one name, and for runs on other
    pairs, another corrected arm or by other criteria than the first.
    """
    if len(folders) < 2:
        raise ConfigError(f"{len(folders)} run is named; name the runs of two models or more")
    runs, known = [], []
    for folder in map(Path, folders):
        provenance, summary = provenance_of(folder), Summary.load(folder)
        arm, criteria = summary.text("image_arm"), summary.text("criteria")
        if arm is None or criteria is None:
            raise ConfigError(
                f"run {folder} is not finished, or has no image arm; finish it with `regap run`"
            )
        runs.append(ModelRun(folder.resolve().name, folder, arm, str(provenance["fingerprint"])))
        known.append({"pairs": provenance["pairs_sha256"], "corrected arm": arm, "criteria": criteria})
    for run, found in zip(runs, known, strict=True):
        other = [name for name, value in found.items() if value != known[0][name]]
        if other:
            raise ConfigError(
                f"run {run.folder} has other {other[0]} than {runs[0].folder}; give runs of the same version on the "
                "same pairs"
            )
    for what in ("name", "fingerprint"):
        seen: dict[str, ModelRun] = {}
        for run in runs:
            first = seen.setdefault(getattr(run, what), run)
            if first is not run:
                told = "the same model" if what == "fingerprint" else "folders of the same name"
                raise ConfigError(
                    f"runs {first.folder} and {run.folder} are {told}; name one run of each model"
                )
    return tuple(runs)
