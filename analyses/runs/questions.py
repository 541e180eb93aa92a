"""Further questions to a run, each with its settings and tables in its own folder."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regap.errors import ConfigError, StoreError
from regap.geometry.files import opened_json, sealed_json, write_whole

if TYPE_CHECKING:
    from regap.analyses.runs.records import Record
    from regap.interventions.edits.stored import StoredEdit

FOLDER = "asked"
SETTINGS = "asked.json"
EDITS = "edits"


@dataclass(frozen=True)
class Question:
    """One question and the folder of its answer; `Record.load(question.folder, name)` reads its tables."""

    folder: Path
    command: str
    """Its command: ablate, sweep, image-tokens, compare, judge, calibrate, utility or power."""
    number: int
    """Larger for later questions."""
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of its tables."""
        return tuple(sorted(path.stem for path in self.folder.glob("tables/*.parquet")))

    @property
    def edits(self) -> dict[str, Path]:
        """The folders of the corrections that it chose, by name; `load_edit` reads one."""
        return {path.name: path for path in sorted(self.folder.glob(f"{EDITS}/*")) if path.is_dir()}


def questions_of(run_folder: Path | str) -> tuple[Question, ...]:
    """Return the questions to a run, the newest first; raises ConfigError for a file that cannot be read."""
    found = []
    for path in Path(run_folder).glob(f"{FOLDER}/*/{SETTINGS}"):
        try:
            known = opened_json(path, path.parent.name)
            found.append(Question(path.parent, known["command"], known["number"], known["settings"]))
        except (StoreError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} cannot be read ({error}); remove its folder and ask again") from None
    return tuple(sorted(found, key=lambda one: -one.number))


def edits_of(run_folder: Path | str) -> dict[str, Path]:
    """Return the folders of stored corrections by name: the run's own, and of each other name the newest."""
    own = {path.name: path for path in sorted(Path(run_folder, EDITS).glob("*")) if path.is_dir()}
    oldest_first = [question.edits for question in reversed(questions_of(run_folder))]
    return own | {name: path for edits in oldest_first for name, path in edits.items()} | own


def stored_edit(run_folder: Path | str, name: str) -> Any:
    """Return the stored correction of this name; raises ConfigError, with the names there are, if there is none."""
    from regap.interventions.edits.stored import load_edit

    known = edits_of(run_folder)
    if name not in known:
        raise ConfigError(f"name is {name!r}; the run's corrections are {', '.join(known) or 'none yet'}")
    return load_edit(known[name])


def edit_name(condition: str) -> str:
    """Return the name under which a condition's correction is stored: `one pass, within budgets` without blanks."""
    return condition.replace(",", "").replace(" ", "-")


def save_answer(
    run_folder: Path,
    command: str,
    settings: Mapping[str, Any],
    records: Sequence["Record"],
    edits: Mapping[str, tuple["StoredEdit", str]] | None = None,
) -> Question:
    """Write the tables that answer a question, and return it as the newest question.

    edits: corrections that it chose, by condition, each with the fingerprint of its model. The same command and
    settings write to the same folder; other answers are not changed.
    """
    told = json.dumps(settings, sort_keys=True, default=str)
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    folder = run_folder / FOLDER / f"{command}-{digest}"
    for record in records:
        record.save(folder)
    kept = {record.name for record in records}
    for path in folder.glob("tables/*.parquet"):
        if path.stem not in kept:  # from an earlier answer to the same question
            path.unlink()
    named = {edit_name(condition): edit for condition, edit in (edits or {}).items()}
    for path in folder.glob(f"{EDITS}/*"):
        if path.name not in named:
            shutil.rmtree(path)
    for name, (edit, model) in named.items():
        edit.save(folder / EDITS / name, model)
    # The newest question, asked again after a stop, keeps its number: the same bytes as without the stop.
    others = (one.number for one in questions_of(run_folder) if one.folder != folder)
    number = 1 + max(others, default=0)
    known = {"command": command, "number": number, "settings": json.loads(told)}
    write_whole(folder / SETTINGS, sealed_json(known, folder.name))
    return Question(folder, command, number, known["settings"])
