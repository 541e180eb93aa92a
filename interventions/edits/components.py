"""Components that can be ablated and patched: attention, MLP, one head, the whole block, the state, a direction."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.hooks import Hook
from regap.geometry.models.model import Model
from regap.geometry.models.submodule_hooks import heads_of, part_name
from regap.geometry.states.store import digest_of, digest_of_tensor

ComponentKind = Literal["attention", "mlp", "head", "block", "state", "direction"]
Output = Float[Tensor, "prompt token width"]
Change = Callable[[Output], Output | None]
"""A function from a component's output at every token of a pass to its replacement; None changes nothing."""


@dataclass(frozen=True, eq=False)
class Component:
    """A component of every block.

    attention, mlp: their outputs, which are added to the residual stream; head: its part of the attention before the
    output projection; block: its output minus its input; state: the residual stream after the block; direction: the
    coordinate of that state along an axis.
    """

    kind: ComponentKind
    head: int = -1
    """Index of the head, 0-based; -1 for all kinds but head."""
    axes: Float[Tensor, "layer d_model"] | None = field(default=None, repr=False)
    """A unit vector for each block of the model; None for all kinds but direction."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(ComponentKind):
            raise ValueError(
                f"component is {self.kind!r}; choose one of {', '.join(get_args(ComponentKind))}"
            )
        if (self.kind == "head") != (self.head >= 0):
            raise ValueError(
                f"head is {self.head} for component {self.kind}; give a head for component head, and only for it"
            )
        if (self.kind == "direction") != (self.axes is not None):
            raise ValueError(f"component {self.kind}: give axes for component direction, and only for it")

    @property
    def identity(self) -> str:
        """Digest of kind, head and axes."""
        axes = "" if self.axes is None else digest_of_tensor(self.axes)
        return digest_of(["component", self.kind, self.head, axes])

    def check(self, model: Model, layer: int) -> None:
        """Raise ModelError for a layer or a head that the model does not have; nothing is run."""
        model.hook_name(layer)
        if self.kind in ("attention", "mlp", "head", "block"):
            part_name(model, "attention", layer)
        if self.head >= heads_of(model):
            raise ModelError(
                f"head {self.head} is not in model {model.name}; the heads of a block are 0 to {heads_of(model) - 1}"
            )

    def hooks(self, model: Model, layer: int, change: Change, away: Tensor | None = None) -> list[Hook]:
        """Return new hooks that replace the component's output at block `layer` by what `change` returns for it.

        `away` is a unit vector for a control of equal size: the output then moves as far as `change` moves it, but in
        this direction.
        """
        if self.kind == "attention" or self.kind == "mlp":
            return [Hook(part_name(model, self.kind, layer), _whole(change, away))]
        if self.kind == "head":
            width = self.width(model)
            own = slice(self.head * width, (self.head + 1) * width)
            return [Hook(part_name(model, "heads", layer), _some(own, _whole(change, away)))]
        if self.kind == "block":
            part_name(model, "attention", layer)
            return _added(f"blocks.{layer}.hook_in", model.hook_name(layer), change, away)
        if self.axes is not None:
            return [Hook(model.hook_name(layer), _along(self.axes[layer], change, away))]
        return [Hook(model.hook_name(layer), _whole(change, away))]

    def size(self, model: Model) -> int:
        """Return the number of values of the component at one token."""
        return 1 if self.kind == "direction" else self.width(model)

    def width(self, model: Model) -> int:
        """Return the width of `away` and of the states that change: d_model; for a head, its part of the attention."""
        if self.kind != "head":
            return model.width
        widths = sorted(set(model.head_widths))
        if len(widths) > 1:
            raise ModelError(
                f"model {model.name}: its heads are {' or '.join(map(str, widths))} wide, depending on the block; "
                "choose component attention"
            )
        return widths[0]


def _whole(change: Change, away: Tensor | None) -> Change:
    def call(written: Tensor) -> Tensor | None:
        new = change(written)
        return new if new is None or away is None else written + _moved(new - written, away)

    return call


def _some(own: slice, change: Change) -> Change:
    def call(written: Tensor) -> Tensor | None:
        new = change(written[..., own])
        if new is None:
            return None
        moved = written.clone()
        moved[..., own] = new
        return moved

    return call


def _added(before: str, after: str, change: Change, away: Tensor | None) -> list[Hook]:
    """Return hooks that change the output of a block minus its input."""
    came: list[Tensor] = []

    def keep(residual: Tensor) -> None:
        came[:] = [residual]

    def call(residual: Tensor) -> Tensor | None:
        written = residual - came[0]
        new = change(written)
        # Written so that an unchanged addition changes no bit.
        return None if new is None else residual + _moved(new - written, away)

    return [Hook(before, keep), Hook(after, call)]


def _along(axis: Tensor, change: Change, away: Tensor | None) -> Change:
    def call(residual: Tensor) -> Tensor | None:
        unit = axis.to(residual)
        coordinate = (residual @ unit)[..., None]
        new = change(coordinate)
        return None if new is None else residual + _moved((new - coordinate) * unit, away)

    return call


def _moved(difference: Tensor, away: Tensor | None) -> Tensor:
    """Return the difference; with `away`, a step of the same length in that direction."""
    return difference if away is None else difference.norm(dim=-1, keepdim=True) * away.to(difference)
