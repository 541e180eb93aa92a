"""The folder of a run: its settings, provenance and prompts, and checks that it belongs to one run."""

import hashlib
import io
import json
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch

from regap.analyses.runs.config import PLACES, RunConfig, as_toml, stored_config
from regap.analyses.tables.parquet_files import write_sealed_table
from regap.errors import ConfigError, ModelError, PairError, StoreError
from regap.geometry.data.pairs import Pair, Pairs
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.files import (
    OPEN_SEAL,
    check_whole,
    note_damaged,
    opened_json,
    sealed,
    sealed_json,
    write_whole,
)
from regap.geometry.models.identity import identity_of
from regap.geometry.models.loading import Model
from regap.geometry.models.template_options import DAY
from regap.geometry.prompts.batch import prompt_digest, render
from regap.geometry.sole_writer import LOCK
from regap.geometry.states.store import write_tensors

PACKAGES = (
    "regap",
    "torch",
    "transformers",
    "transformer-lens",
    "numpy",
    "pandas",
    "pyarrow",
    "plotly",
    "scikit-learn",
)
KEPT = ("activations", "answers", "ablations", "verdicts")
"""Folders whose files are named by model, prompt and edit, so that other questions can use them too."""
THUMBNAIL = 160
"""Longest side, in pixels, of the pictures stored for the report."""

PROMPTS_A_GROUP = 128
"""Rows of prompts.parquet in one row group, which are read together."""


def begin_folder(path: Path, config: RunConfig, model: Model, pairs: Pairs, *, force: bool = False) -> None:
    """Write configuration, provenance and prompts of a run.

    Raises ConfigError if the folder holds another run, unless `force` moves that run aside.
    """
    check_question(path, config, model, pairs, force=force)
    prompts = _prompts(
        model, pairs
    )  # before any file is written: a prompt that cannot be asked leaves no run behind
    write_settings(path, _settled(config, path))
    write_json(path / "provenance.json", _provenance(config, model, pairs))
    named: Any = ["pair_id", "arm"]
    write_sealed_table(
        path / "prompts.parquet", prompts, row_group_size=PROMPTS_A_GROUP, write_statistics=named
    )


def write_settings(path: Path, config: RunConfig) -> None:
    """Write config.toml, with its digest in a comment."""
    text = f"# {OPEN_SEAL.decode()}\n{as_toml(config)}"
    write_whole(path / "config.toml", sealed(text.encode(), "config.toml"))


def check_out(path: Path) -> None:
    """Raise ConfigError if no run can be written there, because it is a file or a folder with other files."""
    if path.exists() and not path.is_dir():
        raise ConfigError(f"out is {path}, which is a file; name a folder")
    known = any((path / name).is_file() for name in (LOCK, "provenance.json", "pairs.parquet"))
    others = {each.name for each in path.iterdir()} - set(KEPT) if path.is_dir() else set()
    if others and not known and not any(path.glob("before-*")):
        raise ConfigError(f"out folder {path} holds files that are not a run; name an empty or a new folder")


def check_question(
    path: Path, config: RunConfig, model: Model, pairs: Pairs | None = None, *, force: bool = False
) -> None:
    """Raise ConfigError if the folder holds a run of another model, other settings or other pairs.

    Only settings that decide results are compared. With `force` that run is moved to before-N inside the folder
    instead; states and answers stay, since they are named by model, prompt and edit.
    """
    different = _difference(path, config, model, pairs)
    if different is None:
        return
    if not force:
        raise ConfigError(
            f"out folder {path} holds a run with {different}; name another folder, or add --force to move that run "
            "to a before-N folder inside it"
        )
    aside = path / f"before-{1 + len(list(path.glob('before-*')))}"
    aside.mkdir()
    for each in sorted(path.iterdir()):
        if each.name not in (*KEPT, LOCK) and not each.name.startswith("before-"):
            each.rename(aside / each.name)


def _difference(path: Path, config: RunConfig, model: Model, pairs: Pairs | None) -> str | None:
    """Return, in words, how the run in the folder differs; None for the same question, or without a readable run."""
    try:
        known = provenance_of(path)
    except ConfigError:
        note_damaged(path / "provenance.json")
        return None
    if known.get("fingerprint") != model.fingerprint:
        return f"another model ({known.get('model')})"
    try:
        check_whole(path / "config.toml", "config.toml")
        before = stored_config(path / "config.toml", out=config.out).question()
    except (ConfigError, StoreError):
        note_damaged(path / "config.toml")
        return None
    for name, value in config.question().items():
        if before.get(name) != value:
            return f"{name} {before.get(name)} instead of {value}"
    if pairs is not None and known.get("pairs_sha256") != pairs_digest(pairs):
        return "other pairs"
    return None


def _settled(config: RunConfig, path: Path) -> RunConfig:
    """Return the settings with paths inside the run folder made relative to it, so that the folder can be moved."""
    inside = {}
    for name in PLACES - {"out"}:
        value = getattr(config, name)
        place = Path(value).resolve() if value else None
        if place and place.exists() and place.is_relative_to(path.resolve()):
            inside[name] = str(place.relative_to(path.resolve()))
    return config.model_copy(update=inside)


def settings_of_run(folder: Path, **changes: Any) -> RunConfig:
    """Return the settings of a run; `out` is this folder, and relative paths are resolved in it.

    changes: settings to change, such as the place of the model; None changes nothing. Raises ConfigError if it is not
    a run folder.
    """
    missing = [name for name in ("config.toml", "provenance.json") if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"run folder {folder} has no {' and no '.join(missing)}; name a folder that `regap run` made"
        )
    try:
        check_whole(folder / "config.toml", "config.toml", "run its `regap run` command again")
    except StoreError as error:
        raise ConfigError(f"run folder {folder}: {error}") from None
    config = stored_config(folder / "config.toml", **{**changes, "out": str(folder)})
    inside = {
        name: str(folder / value)
        for name in PLACES - {"out"}
        if changes.get(name) is None and (value := getattr(config, name)) and (folder / value).exists()
    }
    return config.model_copy(update=inside)


def write_directions(path: Path, refusal: Direction, drifts: Mapping[str, Drift], model: Model) -> None:
    """Write refusal direction, thresholds and the drift of each arm to directions.safetensors."""
    tensors = {"refusal": refusal.vectors, "thresholds": refusal.thresholds}
    for arm, drift in drifts.items():
        tensors |= {f"drift.{arm}": drift.vectors, f"text_mean.{arm}": drift.text_mean}
    header = {"model": model.fingerprint, "hook": "blocks.{layer}.hook_out", "position": "last"}
    header |= {
        "layers": json.dumps(refusal.layers),
        "sign": "refusal points to harmful; drift from text to image",
    }
    write_tensors(path / "directions.safetensors", tensors, header)


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write summary.json."""
    write_json(path / "summary.json", summary)


def add_notes(path: Path, notes: Sequence[str]) -> None:
    """Add notes to provenance.json, on what a run left out and why."""
    known = provenance_of(path)
    fresh = [note for note in notes if note not in known["notes"]]
    if fresh:
        write_json(path / "provenance.json", {**known, "notes": [*known["notes"], *fresh]})


def _rendered(model: Model, pair: Pair, arm: str) -> str:
    """Return a rendered prompt; an error names its pair and arm."""
    try:
        return render(model, pair.prompts[arm])
    except (PairError, ModelError) as error:
        raise type(error)(f"pair {pair.pair_id!r}, arm {arm}: {error}") from None


def _prompts(model: Model, pairs: Pairs) -> pa.Table:
    """Return one row per pair and arm; raises PairError or ModelError for a prompt that cannot be asked."""
    rows = [
        {
            "pair_id": pair.pair_id,
            "arm": arm,
            "label": pair.label,
            "category": pair.category,
            "split": pair.split,
            "cluster": pair.cluster,
            "request": pair.request,
            "answer": pair.answer,
            "prompt": rendered,
            "prompt_sha256": prompt_digest(rendered, prompt),
            "image_sha256": prompt.picture.sha256 if prompt.picture else None,
            "image_png": _thumbnail(prompt) if prompt.picture and pair.split == "test" else None,
            "audio_sha256": prompt.sounds[0].sha256 if prompt.sounds else None,
            "audio_flac": prompt.sounds[0].excerpt() if prompt.sounds and pair.split == "test" else None,
        }
        for pair in pairs
        for arm, prompt in pair.prompts.items()
        for rendered in (_rendered(model, pair, arm),)
    ]
    return pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)


def provenance_of(path: Path) -> dict[str, Any]:
    """Return the provenance of a run; raises ConfigError if the folder is not a run folder, or is damaged."""
    file = path / "provenance.json"
    try:
        return opened_json(file, file.name, "name a folder of `regap run`, or run its command again")
    except StoreError as error:
        raise ConfigError(f"run folder {path}: {error}") from None


def check_pairs(path: Path, pairs: Pairs) -> None:
    """Raise ConfigError unless these are the pairs of the run in the folder."""
    if provenance_of(path).get("pairs_sha256") != pairs_digest(pairs):
        raise ConfigError(
            f"run folder {path} was made from other pairs than its settings give now: a file has changed; run the "
            "command of the run again"
        )


def pairs_digest(pairs: Pairs) -> str:
    """Return a digest of names, labels, splits, prompts, pictures and sounds of all pairs."""
    requests = hashlib.sha256()
    for pair in pairs:
        arms = [
            (
                *(arm, prompt.system, prompt.text, [each.sha256 for each in prompt.media]),
                *[[turn.role, turn.text] for turn in prompt.turns],
            )
            for arm, prompt in pair.prompts.items()
        ]
        requests.update(json.dumps([pair.pair_id, pair.label, pair.split, arms]).encode())
    return requests.hexdigest()


def _provenance(config: RunConfig, model: Model, pairs: Pairs) -> dict[str, Any]:
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "identity": identity_of(model.hf).model_dump(),
        "pairs": len(pairs),
        "pairs_sha256": pairs_digest(pairs),
        "notes": list(pairs.notes),
        "seed": config.seed,
        "command": " ".join(["regap", *sys.argv[1:]]) if sys.argv[0].endswith("regap") else "python",
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()},
        "threads": torch.get_num_threads(),
        "attention": str(model.hf.config._attn_implementation),
        "template": {"date": DAY, **model.template},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _thumbnail(prompt: Any) -> bytes:
    image = prompt.picture.open()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    kept = io.BytesIO()
    image.save(kept, "PNG")
    return kept.getvalue()


def write_json(path: Path, value: Mapping[str, Any]) -> Path:
    """Write a JSON file with its digest, and null for numbers that are not finite."""
    return write_whole(path, sealed_json(_finite(value), path.name))


def _finite(value: Any) -> Any:
    """Return the value with None for numbers that are not finite, which JSON cannot represent."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
