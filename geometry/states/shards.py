"""Residual streams that stay on disk and are read shard by shard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from torch import Tensor

from regap.errors import StoreError
from regap.geometry.files import check_whole

ROWS = 4096
"""Most prompts in one part of residual streams that are in memory."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """The residual streams of some prompts, in memory."""

    rows: Int[np.ndarray, " prompt"]
    """Indices of these prompts among all."""
    residuals: Float[Tensor, "prompt layer d_model"] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Shards:
    """Residual streams [prompt, layer, d_model] in files, whose order may differ from that of the prompts."""

    paths: tuple[Path, ...]
    places: Int[np.ndarray, "prompt 2"] = field(repr=False)
    """Index of the file, and row in it, of each prompt."""
    layers: int
    width: int

    @classmethod
    def of(cls, paths: Sequence[Path], groups: Sequence[Sequence[int]], layers: int, width: int) -> "Shards":
        """Return shards in which file i holds the prompts groups[i]; each prompt is in one file."""
        places = np.empty((sum(map(len, groups)), 2), dtype=np.int64)
        for number, rows in enumerate(groups):
            places[rows, 0], places[rows, 1] = number, np.arange(len(rows))
        return cls(tuple(paths), places, layers, width)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Prompts, layers and width."""
        return len(self.places), self.layers, self.width

    def take(self, kept: Sequence[int]) -> "Shards":
        """Return the prompts with these indices; nothing is read."""
        return Shards(self.paths, self.places[np.asarray(kept)], self.layers, self.width)

    def parts(self, layer: int | None = None) -> Iterator[Chunk]:
        """Yield the prompts file by file, with one file in memory at a time; only the layer with index `layer`, if
        given.

        Raises StoreError for a missing or damaged file, and ValueError for numbers that are not finite.
        """
        order = np.argsort(self.places[:, 0], kind="stable")
        bounds = np.flatnonzero(np.diff(self.places[order, 0])) + 1
        for rows in np.split(order, bounds) if len(order) else []:
            file, places = self.places[rows[0], 0], self.places[rows, 1]
            residuals = _read(self.paths[file], layer)
            if (self.layers if layer is None else 1, self.width) != tuple(residuals.shape[1:]):
                raise StoreError(
                    f"shard {self.paths[file]} has another shape; capture again into the same folder"
                )
            if places.min() < 0 or places.max() >= len(residuals):
                raise StoreError(
                    f"shard {self.paths[file]} holds {len(residuals)} prompts, and its index names row "
                    f"{places.min() if places.min() < 0 else places.max()}; capture again into the same folder"
                )
            whole = len(places) == len(residuals) and bool((places == np.arange(len(places))).all())
            yield Chunk(rows, residuals if whole else residuals[torch.from_numpy(places)])

    def load(self, layer: int | None = None) -> Float[Tensor, "prompt layer d_model"]:
        """Return all prompts in memory; only the layer with index `layer`, if given."""
        held = torch.empty(len(self.places), self.layers if layer is None else 1, self.width)
        for part in self.parts(layer):
            held[torch.from_numpy(part.rows)] = part.residuals
        return held


def parts_of(source: "Tensor | Shards") -> Iterator[Chunk]:
    """Yield all prompts in parts of bounded size."""
    if isinstance(source, Shards):
        yield from source.parts()
        return
    for start in range(0, len(source), ROWS):
        some = source[start : start + ROWS]
        yield Chunk(np.arange(start, start + len(some)), some)


def _read(path: Path, layer: int | None) -> Tensor:
    """Return a shard, or one layer of it; its digest is checked when the file is new or has changed."""
    check_whole(path, path.stem, "capture again into the same folder")
    try:
        with safe_open(path, framework="pt") as file:
            if layer is None:
                residuals = file.get_tensor("residuals")
            else:
                residuals = file.get_slice("residuals")[:, layer : layer + 1]
    except (SafetensorError, OSError):
        raise StoreError(f"shard {path} is missing or damaged; capture again into the same folder") from None
    if not bool(torch.isfinite(residuals).all()):
        raise ValueError(
            f"shard {path} holds infinities or NaN; load the model with dtype='float32' (--dtype)"
        )
    return residuals.float()
