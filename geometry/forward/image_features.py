"""Keep a model's image features, so that its vision tower runs once for the same pictures with different questions."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch

KEPT_BYTES = 512 * 2**20
"""Most bytes of features kept for one model, on its device; the least recently used are dropped first."""
TOWER_STATES = ("last_hidden_state", "hidden_states", "attentions")
"""Outputs of a vision tower that no decoder of these families reads."""


@dataclass
class Shelf:
    """Image features by the digests of their pictures, the least recently used first."""

    limit: int = KEPT_BYTES
    kept: "OrderedDict[tuple[str, ...], SimpleNamespace]" = field(default_factory=OrderedDict)
    computed: int = 0
    """How often the vision tower ran."""

    def get(self, pictures: tuple[str, ...]) -> SimpleNamespace | None:
        """Return the features of these pictures, None if they are not kept."""
        if pictures in self.kept:
            self.kept.move_to_end(pictures)
        return self.kept.get(pictures)

    def put(self, pictures: tuple[str, ...], features: SimpleNamespace) -> None:
        """Keep the features, and drop the least recently used beyond the limit."""
        self.computed += 1
        self.kept[pictures] = features
        while self.kept and sum(map(_bytes, self.kept.values())) > self.limit:
            self.kept.popitem(last=False)


_SHELVES: "WeakKeyDictionary[Model, Shelf]" = WeakKeyDictionary()


def shelf_of(model: Model) -> Shelf:
    """Return the shelf of a model's image features; it is deleted with the model."""
    return _SHELVES.setdefault(model, Shelf())


def seen_inputs(model: Model, batch: Batch) -> dict[str, Any]:
    """Return the inputs of a pass, with features in place of pixels if the model accepts features.

    The vision tower runs on the distinct pictures of the batch, or not at all if their features are kept. Features are
    kept by batch, so that its numbers never depend on earlier batches.
    """
    base = model.hf.base_model
    if not batch.pictures or "mm_encoder_outputs" not in signature(base.forward).parameters:
        return dict(batch.inputs)
    asked = signature(base.get_image_features).parameters
    pixels = {name: value for name, value in batch.inputs.items() if name in asked}
    features = _features(base, shelf_of(model), batch.pictures, pixels)
    rest = {name: value for name, value in batch.inputs.items() if name != "pixel_values"}
    return rest | {"mm_encoder_outputs": {"image": features}}


def _features(base: Any, shelf: Shelf, pictures: tuple[str, ...], pixels: dict[str, Tensor]) -> Any:
    distinct = tuple(dict.fromkeys(pictures))
    first = [pictures.index(picture) for picture in distinct]
    fewer = _pixels_of(pixels, first, len(pictures)) if len(distinct) < len(pictures) else None
    key = _key(pictures if fewer is None else distinct, fewer or pixels)
    features = shelf.get(key)
    if features is None:
        features = _kept_part(base.get_image_features(**(fewer or pixels), return_dict=True))
        if fewer is None or _one_each(features, len(distinct)):
            shelf.put(key, features)
    if fewer is None:
        return features
    if not _one_each(features, len(distinct)):  # also if an earlier batch of these pictures left them here
        return _features_of_all(base, shelf, pictures, pixels)
    return _spread(features, [distinct.index(picture) for picture in pictures])


def _features_of_all(base: Any, shelf: Shelf, pictures: tuple[str, ...], pixels: dict[str, Tensor]) -> Any:
    """Return features that cannot be split by picture: those of the whole batch, repeated pictures included."""
    key = _key(pictures, pixels)
    features = shelf.get(key)
    if features is None:
        features = _kept_part(base.get_image_features(**pixels, return_dict=True))
        shelf.put(key, features)
    return features


def _key(pictures: tuple[str, ...], pixels: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the key of features; some models use fewer tokens for a picture if a prompt has several."""
    together = pixels.get("batch_num_images")
    return pictures if together is None else (*pictures, *map(str, together.tolist()))


def _pixels_of(pixels: Mapping[str, Tensor], chosen: list[int], count: int) -> dict[str, Tensor] | None:
    """Return the inputs of some of the pictures; None if the inputs cannot be split by picture."""
    if "image_grid_thw" in pixels and len(pixels["image_grid_thw"]) == count:
        grid = pixels["image_grid_thw"]
        patches = pixels["pixel_values"].split(grid.prod(-1).tolist())
        return {
            **pixels,
            "pixel_values": torch.cat([patches[i] for i in chosen]),
            "image_grid_thw": grid[chosen],
        }
    # For other inputs it is not known whether they go by picture or by prompt.
    if pixels.keys() <= {"pixel_values", "image_sizes"} and all(
        len(each) == count for each in pixels.values()
    ):
        return {name: value[chosen] for name, value in pixels.items()}
    return None


def _kept_part(output: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: value for name, value in output.items() if name not in TOWER_STATES})


def _one_each(features: SimpleNamespace, count: int) -> bool:
    """Return True if there is exactly one entry of features for each picture, and nothing else."""
    return list(vars(features)) == ["pooler_output"] and len(features.pooler_output) == count


def _spread(features: SimpleNamespace, places: list[int]) -> SimpleNamespace:
    pooled = features.pooler_output
    chosen = pooled[places] if isinstance(pooled, Tensor) else [pooled[place] for place in places]
    return SimpleNamespace(pooler_output=chosen)


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    parts = vars(value).values() if isinstance(value, SimpleNamespace) else value
    return sum(map(_bytes, parts)) if isinstance(value, SimpleNamespace | list | tuple) else 0
