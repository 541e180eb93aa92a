"""Residual streams of prompts at one position, with the labels, splits and clusters of the prompts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import PairError
from regap.geometry.data.pairs import Label, Pair, Split
from regap.geometry.states.shards import Chunk, Shards, parts_of


@dataclass(frozen=True)
class StateRow:
    """The pair, label, category, split and cluster of one prompt."""

    pair_id: str
    label: Label
    category: str
    split: Split
    cluster: str

    @classmethod
    def of(cls, pair: Pair) -> "StateRow":
        """Return the row of a pair."""
        return cls(pair.pair_id, pair.label, pair.category, pair.split, pair.cluster)


@dataclass(frozen=True, eq=False)
class Activations:
    """Residual streams of one arm under one condition, a row for each prompt."""

    source: Float[Tensor, "prompt layer d_model"] | Shards = field(repr=False)
    """Outputs of blocks at one position, float32; on the CPU, or on disk and read shard by shard."""
    rows: tuple[StateRow, ...] = field(repr=False)
    """One for each prompt, in the order of `source`."""
    arm: str
    """The rendering of the request."""
    layers: tuple[int, ...]
    """Which blocks, 0-based."""
    model: str
    """Fingerprint of the model."""
    edits: tuple[str, ...] = ()
    """Identities of the edits under which they were captured; empty for the unedited model."""
    position: str = "last"
    """Which token of the prompt; if it names several tokens, their mean."""

    def __post_init__(self) -> None:
        prompts, layers, _ = self.source.shape
        if (prompts, layers) != (len(self.rows), len(self.layers)):
            raise ValueError(
                f"residuals of {prompts} prompts x {layers} layers do not fit "
                f"{len(self.rows)} rows x {len(self.layers)} layers"
            )
        if not prompts:
            raise PairError(f"arm {self.arm}: no prompts; choose an arm, split and label that some pair has")
        if isinstance(self.source, Tensor) and not bool(torch.isfinite(self.source).all()):
            raise ValueError(
                f"arm {self.arm}: residual streams hold infinities or NaN; load the model with dtype='float32' "
                "(--dtype)"
            )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def residuals(self) -> Float[Tensor, "prompt layer d_model"]:
        """All residual streams, in memory; prefer `parts` or `at` for states on disk, which are read completely."""
        return self.source if isinstance(self.source, Tensor) else self.source.load()

    def parts(self) -> Iterator[Chunk]:
        """Yield all prompts in parts, so that states on disk are never in memory all at once."""
        return parts_of(self.source)

    @property
    def harmful(self) -> Bool[Tensor, " prompt"]:
        """True for harmful prompts."""
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
        """Return the prompts with these indices."""
        source = self.source
        chosen = source[torch.as_tensor(kept)] if isinstance(source, Tensor) else source.take(kept)
        return replace(self, source=chosen, rows=tuple(self.rows[i] for i in kept))

    def at(self, layer: int) -> Float[Tensor, "prompt d_model"]:
        """Return the residual streams after block `layer`; raises ValueError if it was not captured."""
        if layer not in self.layers:
            raise ValueError(f"layer {layer} was not captured; captured are {list(self.layers)}")
        place = self.layers.index(layer)
        return self.source[:, place] if isinstance(self.source, Tensor) else self.source.load(place)[:, 0]

    def aligned_with(
        self, other: "Activations", *, between_positions: bool = False
    ) -> "tuple[Activations, Activations]":
        """Return both, restricted to their common pairs; row i of both is the same request.

        Raises PairError if they share no pair, or if models, layers or positions differ; positions may differ with
        `between_positions`.
        """
        require_one_origin(self, replace(other, position=self.position) if between_positions else other)
        place = {pair_id: i for i, pair_id in enumerate(other.pair_ids)}
        mine = [i for i, pair_id in enumerate(self.pair_ids) if pair_id in place]
        if not mine:
            raise PairError(
                f"arms {self.arm} and {other.arm} share no pair; give both renderings of a request one pair_id"
            )
        return self.take(mine), other.take([place[self.pair_ids[i]] for i in mine])


def by_arm(states: Any) -> list[Any]:
    """Return the states of one arm or of several, as `capture` returns them, as a list; PairError for none."""
    several = states.values() if isinstance(states, Mapping) else states
    found = list(several) if isinstance(several, Iterable) and not hasattr(several, "rows") else [several]
    wrong = [each for each in found if not hasattr(each, "rows")]
    if wrong or not found:
        raise PairError(f"states is {wrong[0] if wrong else states!r}; give what capture returns")
    return found


def one_arm(states: Any, name: str = "states") -> "Activations":
    """Return the states; raises PairError for anything but those of one arm."""
    if not isinstance(states, Activations):
        raise PairError(
            f"{name} is of type {type(states).__name__}; give the states of one arm, as in states['text'].calibration"
        )
    return states


@runtime_checkable
class ReadOff(Protocol):
    """States, a direction or a drift, with their model, arm, layers and position."""

    @property
    def model(self) -> str:
        """Fingerprint of the model; empty if it is not known."""
        ...

    @property
    def arm(self) -> str:
        """The rendering of the requests."""
        ...

    @property
    def layers(self) -> tuple[int, ...]:
        """Which blocks, 0-based."""
        ...

    @property
    def position(self) -> str:
        """Which token."""
        ...


def require_one_origin(one: ReadOff, other: ReadOff) -> None:
    """Raise PairError unless both were read from the same model, at the same layers and the same position.

    An unknown (empty) model or position is not compared.
    """
    for name, verb in (("model", "is"), ("layers", "are"), ("position", "is")):
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine and theirs and mine != theirs:
            raise PairError(
                f"the {name} of arm {one.arm} {verb} {_shortened(mine)}, of arm {other.arm} {_shortened(theirs)}; "
                f"combine only what was read with the same {name}"
            )


def _shortened(value: object) -> str:
    text = str(list(value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 40 else f"{text[:20]}…{text[-18:]}"


def label_means(states: Activations) -> dict[Label, Float[Tensor, "layer d_model"]]:
    """Return the mean residual stream of each label that is present, float64; states are read in parts."""
    harmful = states.harmful
    masks: dict[Label, Tensor] = {"harmful": harmful, "harmless": ~harmful}
    sums: dict[Label, Tensor] = {}
    for part in states.parts():
        rows = torch.from_numpy(part.rows)
        for label, mask in masks.items():
            if bool(mask[rows].any()):
                found = part.residuals[mask[rows]].sum(0, dtype=torch.float64)
                sums[label] = sums[label] + found if label in sums else found
    return {label: total / int(masks[label].sum()) for label, total in sums.items()}
