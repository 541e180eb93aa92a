"""The index of a folder of shards, so that it can be read without the model."""

import hashlib
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from regap.errors import PairError
from regap.geometry.files import opened_json, sealed_json, write_whole
from regap.geometry.states.activations import Activations, StateRow
from regap.geometry.states.shards import Shards

INDEX = "index.json"
WIDEST = 2**20
"""Above every width of a model, and every number of a layer."""
SHARD = re.compile(r"[0-9a-f]{1,64}\.safetensors")


def model_folder(fingerprint: str) -> str:
    """Return the name of the folder of this model's states, a digest of its fingerprint."""
    return hashlib.sha256(fingerprint.encode()).hexdigest()[:8]


def write_index(states: Activations, shards: Shards) -> Path:
    """Write index.json beside the shards: the prompts, their places, and what was captured."""
    about = {"arm": states.arm, "layers": states.layers, "model": states.model, "edits": states.edits}
    about |= {"position": states.position, "width": shards.width}
    about |= {"shards": [path.name for path in shards.paths], "places": shards.places.tolist()}
    about |= {"prompts": [asdict(row) for row in states.rows]}
    return write_whole(shards.paths[0].parent / INDEX, sealed_json(about, indent=None))


def read_activations(folder: str | Path) -> Activations:
    """Return the states that were last captured into the folder of one arm, such as RUN/activations/MODEL/text.

    MODEL is a digest of the model. The states stay on disk until they are used. Raises PairError if the folder has no
    index, or a damaged one.
    """
    path = Path(folder) / INDEX
    if not path.is_file():
        raise PairError(
            f"folder {folder} has no {INDEX}; name the folder of one arm of a finished capture, such as "
            "RUN/activations/MODEL/text"
        )
    about = opened_json(path, remedy="capture again into the same folder")
    try:
        return _activations(Path(folder), about)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise PairError(f"{path} is damaged ({error}); capture again into the same folder") from None


def _activations(folder: Path, about: dict[str, Any]) -> Activations:
    names = about["shards"]
    if not all(SHARD.fullmatch(name) for name in names):
        raise ValueError("a shard has an impossible name")
    places = np.array(about["places"], dtype=np.int64).reshape(-1, 2)
    if len(np.unique(places, axis=0)) != len(places) or not np.isin(places[:, 0], range(len(names))).all():
        raise ValueError("two prompts have the same place, or a place does not exist")
    layers = tuple(about["layers"])
    if any(type(each) is not int or not 0 <= each < WIDEST for each in (about["width"], *layers)):
        raise ValueError("its width or a layer is no number that a model has")
    shards = Shards(tuple(folder / name for name in names), places, len(layers), about["width"])
    rows = tuple(StateRow(**row) for row in about["prompts"])
    return Activations(
        shards, rows, about["arm"], layers, about["model"], tuple(about["edits"]), about["position"]
    )
