"""Finished runs of several models on the same requests, read from their tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from regap.analyses.runs.folder import provenance_of
from regap.analyses.runs.records import Record, Summary, table_path
from regap.analyses.tables.parquet_files import read_sealed_table
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
    compared: Path | None = None
    """The folder of `regap compare` on the same model and test prompts; None: the run's own, if it was compared."""

    def table(self, name: str) -> pd.DataFrame | None:
        """Return this table of the run, or of its comparison; None if there is none."""
        folder = self.compared if name == "methods" and self.compared else self.folder
        return Record.load(folder, name).table if table_path(folder, name).is_file() else None

    def needed(self, name: str) -> pd.DataFrame:
        """Return this table of the run; raises FileNotFoundError with the command that makes it."""
        return Record.load(self.folder, name).table


def with_comparisons(runs: Sequence[ModelRun], folders: Sequence[Path | str]) -> tuple[ModelRun, ...]:
    """Return the runs with the folders of `regap compare` that belong to them, by model.

    Raises ConfigError for a folder of another model, or with other test prompts than the run.
    """
    found = {run.fingerprint: run for run in runs}
    for folder in map(Path, folders):
        fingerprint = str(provenance_of(folder)["fingerprint"])
        if fingerprint not in found:
            raise ConfigError(f"comparison {folder} is of another model than all runs; leave it out")
        run = found[fingerprint]
        if not asked_of(run.folder, run.arm) <= asked_of(folder, run.arm):
            raise ConfigError(
                f"comparison {folder} has other test prompts than run {run.folder}; leave it out"
            )
        found[fingerprint] = replace(run, compared=folder)
    return tuple(found[run.fingerprint] for run in runs)


def asked_of(folder: Path, arm: str) -> set[tuple[str, str]]:
    """Return names and digests of the test prompts of an arm."""
    columns = ("pair_id", "arm", "split", "prompt_sha256")
    rows = read_sealed_table(folder / "prompts.parquet", columns)
    rows = rows[(rows["arm"] == arm) & (rows["split"] == "test")]
    return set(zip(rows["pair_id"], rows["prompt_sha256"], strict=True))


def model_runs(folders: Sequence[Path | str]) -> tuple[ModelRun, ...]:
    """Return the runs of these folders, in order.

    Raises ConfigError for less than two, for two runs of one model or two folders of one name, and for runs on other
    pairs, another corrected arm or by other criteria than the first.
    """
    return _runs(folders, ("pairs", "corrected arm", "criteria"))


def runs_of_subjects(folders: Sequence[Path | str]) -> tuple[ModelRun, ...]:
    """Return the runs of these folders, in order; they may be on different requests.

    Raises ConfigError for less than two, for two runs of one model or two folders of one name, and for runs by other
    criteria than the first.
    """
    return _runs(folders, ("criteria",))


def _runs(folders: Sequence[Path | str], shared: Sequence[str]) -> tuple[ModelRun, ...]:
    """Return the runs of these folders, which have all that is `shared` in common."""
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
        other = [name for name in shared if found[name] != known[0][name]]
        if other:
            same = "on the same pairs" if "pairs" in shared else "of regap"
            raise ConfigError(
                f"run {run.folder} has other {other[0]} than {runs[0].folder}; give runs of the same version {same}"
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
