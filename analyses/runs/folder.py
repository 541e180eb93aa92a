"""The folder of a run: what it was made from, and that it is one model's."""

import hashlib
import io
import json
import math
import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from regap.analyses.runs.config import RunConfig, as_toml, stored_config
from regap.errors import ConfigError
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.files import write_whole
from regap.geometry.models.loading import Model
from regap.geometry.data.pairs import Pairs
from regap.geometry.prompts.batch import prompt_digest, render
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
THUMBNAIL = 160
"""Longest side, in pixels, of the pictures kept for the report."""

PROMPTS_A_GROUP = 128
"""Rows of prompts.parquet that are read together: whoever opens one item reads the pictures of so many."""


@dataclass(frozen=True)
class RunFolder:
    """A folder that belongs to one model; everything in it is made anew from the same inputs."""

    path: Path

    @classmethod
    def open(cls, config: RunConfig, model: Model, pairs: Pairs) -> "RunFolder":
        """Return the run folder with configuration, provenance and prompts written.

        Raises ConfigError if the folder holds a run of another model, or files that are no run at all.
        """
        path = Path(config.out)
        check_out(path, model.fingerprint)
        folder = cls(path)
        folder._forget_another_run(config, pairs)
        write_whole(path / "config.toml", as_toml(config).encode())
        write_whole(path / "provenance.json", _json(_provenance(config, model, pairs)))
        folder._write_prompts(model, pairs)
        return folder

    def _forget_another_run(self, config: RunConfig, pairs: Pairs) -> None:
        """Remove the tables, figures and report of other pairs or settings: one folder tells of one run."""
        if not (self.path / "config.toml").is_file():
            return
        try:
            before = stored_config(self.path / "config.toml", out=config.out)
            known = provenance_of(self.path).get("pairs_sha256")
        except ConfigError:
            before = known = None  # damaged: what they told of is not known
        if before == config and known == pairs_digest(pairs):
            return
        for name in ("tables/*.parquet", "figures/*.html", "report.html", "summary.json"):
            for path in self.path.glob(name):
                path.unlink()

    def write_directions(self, refusal: Direction, drifts: dict[str, Drift], model: Model) -> None:
        """Write refusal direction, thresholds and the drift of each arm to directions.safetensors."""
        tensors = {"refusal": refusal.vectors, "thresholds": refusal.thresholds}
        for arm, drift in drifts.items():
            tensors |= {f"drift.{arm}": drift.vectors, f"text_mean.{arm}": drift.text_mean}
        header = {"model": model.fingerprint, "hook": "blocks.{layer}.hook_out", "position": "last"}
        header |= {
            "layers": json.dumps(refusal.layers),
            "sign": "refusal points to harmful; drift from text to image",
        }
        write_tensors(self.path / "directions.safetensors", tensors, header)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json."""
        write_whole(self.path / "summary.json", _json(summary))

    def _write_prompts(self, model: Model, pairs: Pairs) -> None:
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
            }
            for pair in pairs
            for arm, prompt in pair.prompts.items()
            for rendered in (render(model, prompt),)
        ]
        table = io.BytesIO()
        pd.DataFrame(rows).to_parquet(
            table, index=False, row_group_size=PROMPTS_A_GROUP, write_statistics=["pair_id", "arm"]
        )
        write_whole(self.path / "prompts.parquet", table.getvalue())


def check_out(path: Path, fingerprint: str | None) -> None:
    """Raise ConfigError if a run may not be written there: another model's, no folder, or not writable."""
    if path.exists() and not path.is_dir():
        raise ConfigError(f"out is {path}, which is a file; name a folder")
    provenance = path / "provenance.json"
    if (
        path.is_dir()
        and any(path.iterdir())
        and not provenance.is_file()
        and not (path / "pairs.parquet").is_file()
    ):
        raise ConfigError(f"out folder {path} holds files that are no run; name an empty or a new folder")
    if fingerprint and provenance.is_file():
        try:
            known = json.loads(provenance.read_text())
        except ValueError:
            known = None
        if not isinstance(known, dict):
            return  # a damaged file is written anew
        if known.get("fingerprint") != fingerprint:
            raise ConfigError(
                f"out folder {path} holds a run of another model ({known.get('model')}); name another folder"
            )


def provenance_of(path: Path) -> dict[str, Any]:
    """Return what a run folder says of its model and pairs; raises ConfigError if it is no run folder, or damaged."""
    try:
        known = json.loads((path / "provenance.json").read_text())
    except (OSError, ValueError):
        known = None
    if not isinstance(known, dict):
        raise ConfigError(
            f"run folder {path} has no provenance.json that can be read; name a folder of `regap run`, or give its "
            "command again"
        )
    return known


def check_pairs(path: Path, pairs: Pairs) -> None:
    """Raise ConfigError unless these are the pairs that the run in the folder asked."""
    if provenance_of(path).get("pairs_sha256") != pairs_digest(pairs):
        raise ConfigError(
            f"run folder {path} asked other pairs than its settings give now: a file has changed; give the command "
            "of the run again"
        )


def pairs_digest(pairs: Pairs) -> str:
    """Return a digest of all that is asked: requests, labels, splits, prompts and pictures."""
    requests = hashlib.sha256()
    for pair in pairs:
        arms = [
            (arm, prompt.system, prompt.text, [picture.sha256 for picture in prompt.pictures])
            for arm, prompt in pair.prompts.items()
        ]
        requests.update(json.dumps([pair.pair_id, pair.label, pair.split, arms]).encode())
    return requests.hexdigest()


def _provenance(config: RunConfig, model: Model, pairs: Pairs) -> dict[str, Any]:
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
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


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(_finite(value), indent=2, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """Return the value with null for every number that is not finite, which JSON cannot write."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
