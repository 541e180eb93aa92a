"""Residual streams of prompts at the last token, with what is needed to group them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.geometry.pairs import Label, Pair, PairError, Split


@dataclass(frozen=True)
class Row:
    """What is known of one prompt apart from its residual stream."""

    pair_id: str
    label: Label
    category: str
    split: Split
    cluster: str

    @classmethod
    def of(cls, pair: Pair) -> "Row":
        """Return the row of a pair."""
        return cls(pair.pair_id, pair.label, pair.category, pair.split, pair.cluster)


@dataclass(frozen=True, eq=False)
class Activations:
    """Residual streams of one arm under one condition, a row for each prompt."""

    residuals: Float[Tensor, "prompt layer d_model"] = field(repr=False)
    """Outputs of blocks at the last prompt token, float32, on the CPU."""
    rows: tuple[Row, ...] = field(repr=False)
    """One for each prompt, in the order of `residuals`."""
    arm: str
    """The rendering of the request."""
    layers: tuple[int, ...]
    """Which blocks, 0-based."""
    model: str
    """Fingerprint of the model."""
    edits: tuple[str, ...] = ()
    """Identities of the edits under which they were captured; empty for the model as it is."""

    def __post_init__(self) -> None:
        prompts, layers, _ = self.residuals.shape
        if (prompts, layers) != (len(self.rows), len(self.layers)):
            raise ValueError(
                f"residuals of {prompts} prompts x {layers} layers do not fit "
                f"{len(self.rows)} rows x {len(self.layers)} layers"
            )
        if not prompts:
            raise PairError(f"arm {self.arm}: no prompts; choose an arm, split and label that some pair has")
        if not bool(torch.isfinite(self.residuals).all()):
            raise ValueError(
                f"arm {self.arm}: residual streams hold infinities or NaN; load the model with dtype='float32'"
            )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def harmful(self) -> Bool[Tensor, " prompt"]:
        """True at harmful prompts."""
        return torch.tensor([row.label == "harmful" for row in self.rows])

    @property
    def clusters(self) -> np.ndarray:
        """The cluster of each prompt, as text."""
        return np.array([row.cluster for row in self.rows])

    @property
    def pair_ids(self) -> list[str]:
        """The pair of each prompt."""
        return [row.pair_id for row in self.rows]

    @property
    def calibration(self) -> "Activations":
        """The prompts on which directions, layers and thresholds are chosen."""
        return self.where(split="calibration")

    @property
    def test(self) -> "Activations":
        """The prompts on which results are reported."""
        return self.where(split="test")

    def where(self, *, split: Split | None = None, label: Label | None = None) -> "Activations":
        """Return the prompts of this split and label; raises PairError if there are none."""
        kept = [
            i for i, row in enumerate(self.rows) if split in (None, row.split) and label in (None, row.label)
        ]
        if not kept:
            raise PairError(f"arm {self.arm}: no prompt with split={split}, label={label}; add such pairs")
        return self.take(kept)

    def take(self, kept: Sequence[int]) -> "Activations":
        """Return these prompts, by position."""
        return replace(
            self, residuals=self.residuals[torch.as_tensor(kept)], rows=tuple(self.rows[i] for i in kept)
        )

    def at(self, layer: int) -> Float[Tensor, "prompt d_model"]:
        """Return the residual streams after block `layer`; raises ValueError if it was not captured."""
        if layer not in self.layers:
            raise ValueError(f"layer {layer} was not captured; captured are {list(self.layers)}")
        return self.residuals[:, self.layers.index(layer)]

    def aligned_with(self, other: "Activations") -> "tuple[Activations, Activations]":
        """Return both restricted to their common pairs, row i of one and of the other the same request."""
        place = {pair_id: i for i, pair_id in enumerate(other.pair_ids)}
        mine = [i for i, pair_id in enumerate(self.pair_ids) if pair_id in place]
        if not mine:
            raise PairError(
                f"arms {self.arm} and {other.arm} share no pair; give both renderings of a request one pair_id"
            )
        return self.take(mine), other.take([place[self.pair_ids[i]] for i in mine])
