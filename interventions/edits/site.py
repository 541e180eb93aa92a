"""Where an intervention acts: layers, positions, phase and norm rule."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.carriers import tokens_at
from regap.geometry.forward.hooks import Edit, first_column
from regap.geometry.models.model import Model
from regap.geometry.one_or_several import as_layers
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.positions import Position, Positions

Phase = Literal["prefill", "every_step"]
Norm = Literal["plain", "keep"]
GROWING: tuple[Positions, ...] = ("last", "after_instruction", "all")
"""Positions that include generated tokens."""


@dataclass(frozen=True)
class Site:
    """Layers, positions, phase and norm rule of an intervention, for capture and for generation."""

    layers: tuple[int, ...]
    """Blocks whose outputs are edited, 0-based."""
    positions: Positions = "last"
    """A role, such as last, image, request or all; one token of a role, such as image[0] or request[-1]; or the image
    tokens that carry the request, such as image:blank. See `regap.geometry.prompts.positions`."""
    phase: Phase = "prefill"
    """prefill: only the prompt; every_step: generated tokens too, if the positions include the end of the prompt."""
    norm: Norm = "plain"
    """plain: the vector is added to the state; keep: the state is then scaled back to its length."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", as_layers(self.layers))
        Position.of(self.positions)
        for name, kinds in (("phase", Phase), ("norm", Norm)):
            if getattr(self, name) not in get_args(kinds):
                known = ", ".join(get_args(kinds))
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose one of {known}")

    def __str__(self) -> str:
        layers = ",".join(str(layer) for layer in self.layers)
        return f"layers {layers} / {self.positions} / {self.phase} / norm {self.norm}"

    @property
    def only_last(self) -> bool:
        """True if only the last prompt token, or later tokens, are edited."""
        return self.positions == "last"


class AtSite:
    """An edit whose tokens are those of one site."""

    site: Site

    @property
    def only_last(self) -> bool:
        """True if only the last prompt token, or later tokens, are edited."""
        return self.site.only_last


def in_parts(edits: Sequence[Edit]) -> bool:
    """Return True if each edit changes every token by itself, so that a prompt may be run in parts under them.

    An edit says so by `token_by_token`; one that says nothing, such as a user's function, may read other tokens.
    """
    return all(getattr(edit, "token_by_token", False) for edit in edits)


def check_strength(strength: object) -> None:
    """Raise ValueError unless the strength is one finite number."""
    if not isinstance(strength, Real) or not math.isfinite(strength):
        raise ValueError(f"strength is {strength!r}; give one finite number")


def check_width(told: str, width: int, model: Model) -> None:
    """Raise ModelError unless what an edit holds (`told`) is as wide as the model's residual stream."""
    if width != model.width:
        raise ModelError(
            f"{told} are {width} wide, and the residual stream of model {model.name} is {model.width} wide; give those "
            "that were made on this model"
        )


def as_long_as(
    before: Float[Tensor, "*rows d_model"], after: Float[Tensor, "*rows d_model"]
) -> Float[Tensor, "*rows d_model"]:
    """Return the states `after`, each scaled to the length that it has in `before`."""
    return after * (before.norm(dim=-1, keepdim=True) / after.norm(dim=-1, keepdim=True).clamp_min(1e-12))


def shifted(
    residual: Float[Tensor, "prompt token d_model"],
    vector: Float[Tensor, " d_model"],
    strength: Float[Tensor, " prompt"],
    where: Bool[Tensor, "prompt token"],
    norm: Norm = "plain",
) -> Float[Tensor, "prompt token d_model"]:
    """Return h - strength * vector at the marked tokens of each prompt, and h itself, bit for bit, elsewhere.

    The input is not written to. With norm "keep" each edited state keeps its length.
    """
    moved = residual - strength.to(residual)[:, None, None] * vector.to(residual)
    moved = as_long_as(residual, moved) if norm == "keep" else moved
    return torch.where(where[..., None], moved, residual)


def position_rule(
    model: Model, site: Site, batch: Batch
) -> Callable[[Float[Tensor, "prompt token d_model"]], Bool[Tensor, "prompt token"] | None]:
    """Return a function from a residual stream to a mask of the tokens to edit; None if there are none.

    Tokens are found by column, so that a prompt may be run in any number of passes. They are found now, since a rule
    takes passes of its own.
    """
    marked = tokens_at(model, batch, site.positions)
    grows = site.phase == "every_step" and site.positions in GROWING

    def where(residual: Tensor) -> Tensor | None:
        end = batch.columns
        first = first_column(residual, end)
        last = first + residual.shape[1]
        if (last <= end - 1 and site.positions == "last") or (first >= end and not grows):
            return None
        mask = torch.zeros(residual.shape[:2], dtype=torch.bool, device=residual.device)
        if first < end:
            mask[:, : end - first] = marked[:, first:last]
        if last > end and grows:
            mask[:, max(0, end - first) :] = True
        return mask

    return where
