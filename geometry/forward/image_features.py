"""What a model sees of pictures: its vision tower runs once for the same pictures, whatever is asked about them."""

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
"""Features kept for one model, on its device; the least recently used make room."""
TOWER_STATES = ("last_hidden_state", "hidden_states", "attentions")
"""What a tower also returns, and no decoder of these families reads."""


@dataclass
class Shelf:
    """Vision features by the digests of the pictures they are of, the least recently used first."""

    limit: int = KEPT_BYTES
    kept: "OrderedDict[tuple[str, ...], SimpleNamespace]" = field(default_factory=OrderedDict)
    computed: int = 0
    """How often the tower ran."""

    def get(self, pictures: tuple[str, ...]) -> SimpleNamespace | None:
        """Return the features of these pictures, None if they are not kept."""
        if pictures in self.kept:
            self.kept.move_to_end(pictures)
        return self.kept.get(pictures)

    def put(self, pictures: tuple[str, ...], features: SimpleNamespace) -> None:
        """Keep the features as far as the limit allows."""
        self.computed += 1
        self.kept[pictures] = features
        while self.kept and sum(map(_bytes, self.kept.values())) > self.limit:
            self.kept.popitem(last=False)


_SHELVES: "WeakKeyDictionary[Model, Shelf]" = WeakKeyDictionary()


def shelf_of(model: Model) -> Shelf:
    """Return where the features of a model are kept; gone with the model."""
    return _SHELVES.setdefault(model, Shelf())


def seen_inputs(model: Model, batch: Batch) -> dict[str, Any]:
    """Return the inputs of a pass, with features in place of pixels where the model's own code takes them so.

    The tower runs on the distinct pictures of the batch, and not at all if these were seen together before. A
    batch is the unit, so that its numbers never depend on which batches came before it.
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
        if fewer is not None and not _one_each(features, len(distinct)):
            return _features_of_all(base, shelf, pictures, pixels)
        shelf.put(key, features)
    if fewer is None:
        return features
    return _spread(features, [distinct.index(picture) for picture in pictures])


def _features_of_all(base: Any, shelf: Shelf, pictures: tuple[str, ...], pixels: dict[str, Tensor]) -> Any:
    """Features that cannot be told apart by picture: those of the whole batch, repeated pictures and all."""
    key = _key(pictures, pixels)
    features = shelf.get(key)
    if features is None:
        features = _kept_part(base.get_image_features(**pixels, return_dict=True))
        shelf.put(key, features)
    return features


def _key(pictures: tuple[str, ...], pixels: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return what features are known by: some models show a picture in fewer tokens where a prompt has several."""
    together = pixels.get("batch_num_images")
    return pictures if together is None else (*pictures, *map(str, together.tolist()))


def _pixels_of(pixels: Mapping[str, Tensor], chosen: list[int], count: int) -> dict[str, Tensor] | None:
    """Return the inputs of some of the pictures; None where they do not lie one after another."""
    if "image_grid_thw" in pixels and len(pixels["image_grid_thw"]) == count:
        grid = pixels["image_grid_thw"]
        patches = pixels["pixel_values"].split(grid.prod(-1).tolist())
        return {
            **pixels,
            "pixel_values": torch.cat([patches[i] for i in chosen]),
            "image_grid_thw": grid[chosen],
        }
    # Of other inputs it is not said whether they go by picture or by prompt.
    if pixels.keys() <= {"pixel_values", "image_sizes"} and all(
        len(each) == count for each in pixels.values()
    ):
        return {name: value[chosen] for name, value in pixels.items()}
    return None


def _kept_part(output: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: value for name, value in output.items() if name not in TOWER_STATES})


def _one_each(features: SimpleNamespace, count: int) -> bool:
    """True if the features are those of one picture after another, and there is nothing else."""
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
