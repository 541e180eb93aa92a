"""Files of directions and drifts: safetensors with their origin and a digest in the header."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from regap.errors import StoreError
from regap.geometry.states.activations import ReadOff
from regap.geometry.states.store import read_tensors, write_tensors

SIGNS = {"direction": "positive towards harmful", "drift": "points from text to image"}
ORIGIN = ("arm", "model", "position")
MORE: dict[str, tuple[str, ...]] = {"direction": (), "drift": ("part", "text_position", "pairs")}
"""Further fields of the origin, by kind."""


def save_vectors(
    path: str | Path, kind: str, saved: ReadOff, tensors: dict[str, Tensor], **more: str
) -> Path:
    """Write the tensors with their origin to a file and return its path; `kind` is `direction` or `drift`.

    `more`: further fields of the origin.
    """
    header = {"kind": kind, "sign": SIGNS[kind], "layers": json.dumps(saved.layers), **more}
    header |= {name: getattr(saved, name) for name in ORIGIN}
    write_tensors(Path(path), tensors, header, exact=True)
    return Path(path)


def load_vectors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors, and the origin by field name; raises StoreError for a file that holds something else."""
    tensors, header = read_tensors(path)
    if header.get("kind") != kind:
        raise StoreError(
            f"{path} holds {header.get('kind') or 'something else'!r}, not a {kind}; name another file"
        )
    missing = [name for name in (*ORIGIN, *MORE[kind], "layers") if name not in header]
    if missing:
        raise StoreError(
            f"{path} does not say its {missing[0]}, as another version of regap wrote it; save it again"
        )
    origin: dict[str, Any] = {name: header[name] for name in (*ORIGIN, *MORE[kind])}
    return tensors, {**origin, "layers": tuple(json.loads(header["layers"]))}
