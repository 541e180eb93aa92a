"""Ablation: the output of a component at a site is replaced by zeros, a mean, or its output on other inputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.geometry.forward.hooks import Hook
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.edits.components import Component, Output
from regap.interventions.edits.other_arm import prompt_keys
from regap.interventions.edits.site import Site, position_rule

Slots = Sequence[Float[Tensor, "_token width"]]
"""The replacement for each prompt of a batch: one row, or one for each token of the site's positions."""
Control = Literal["none", "random"]


@runtime_checkable
class Replacement(Protocol):
    """The values that replace the output of a component."""

    @property
    def identity(self) -> str:
        """Digest of everything that decides the values."""
        ...

    def slots(self, model: Model, batch: Batch, component: Component, site: Site) -> Mapping[int, Slots]:
        """Return the replacement at each layer of the site."""
        ...


@dataclass(frozen=True, eq=False)
class Constant:
    """The same values for every prompt and token: zeros, or a mean over calibration states."""

    vectors: Mapping[int, Float[Tensor, " _width"]] = field(repr=False)
    """The values by layer."""

    @property
    def identity(self) -> str:
        """Digest of the vectors."""
        return digest_of(
            ["constant", {str(layer): digest_of_tensor(each) for layer, each in self.vectors.items()}]
        )

    def slots(self, model: Model, batch: Batch, component: Component, site: Site) -> Mapping[int, Slots]:  # noqa: ARG002
        """Return the vector of each layer, once for each prompt."""
        return {layer: [self.vectors[layer][None]] * len(batch) for layer in site.layers}


@dataclass(frozen=True, eq=False)
class Resampled:
    """The component's output on another prompt, which is drawn for each input by a seed and a digest of the input."""

    bank: Mapping[int, Float[Tensor, "donor _width"]] = field(repr=False)
    """Outputs by layer; at positions with several tokens, their mean."""
    seed: int = 0

    @property
    def identity(self) -> str:
        """Digest of donors and seed."""
        donors = {str(layer): digest_of_tensor(each) for layer, each in self.bank.items()}
        return digest_of(["resampled", donors, self.seed])

    def slots(self, model: Model, batch: Batch, component: Component, site: Site) -> Mapping[int, Slots]:  # noqa: ARG002
        """Return one donor's row for each prompt; the donor is the same at every layer and in every batch."""
        count = len(next(iter(self.bank.values())))
        drawn = [int(digest_of([self.seed, key]), 16) % count for key in prompt_keys(batch)]
        return {layer: [self.bank[layer][[row]] for row in drawn] for layer in site.layers}


@dataclass(frozen=True, eq=False)
class Ablation:
    """A component replaced at every layer of a site."""

    site: Site
    component: Component
    replacement: Replacement
    control: Control = "none"
    """random: a control that moves the state as far as the replacement does, but in a random direction."""
    seed: int = 0
    """Seed of the random direction."""

    def __post_init__(self) -> None:
        if self.site.norm != "plain":
            raise ValueError(f"norm is {self.site.norm!r}, which a replacement cannot keep; leave norm plain")
        if self.control not in get_args(Control):
            raise ValueError(f"control is {self.control!r}; choose one of {', '.join(get_args(Control))}")

    @property
    def identity(self) -> str:
        """Digest of site, component, replacement and control."""
        parts = [str(self.site), self.component.identity, self.replacement.identity, self.control]
        return digest_of(["ablation", *parts, self.seed if self.control == "random" else 0])

    @property
    def only_last(self) -> bool:
        """True if only the last prompt token, or later tokens, are edited."""
        return self.site.only_last

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return new hooks that replace the component's output; other runs that this needs are made first."""
        slots = self.replacement.slots(model, batch, self.component, self.site)
        return [
            hook
            for layer in self.site.layers
            for hook in self.component.hooks(
                model, layer, _replaced(self.site, batch, slots[layer]), self._away(model, layer)
            )
        ]

    def _away(self, model: Model, layer: int) -> Float[Tensor, " width"] | None:
        if self.control == "none":
            return None
        generator = torch.Generator().manual_seed(1000 * self.seed + layer)
        drawn = torch.randn(self.component.width(model), generator=generator, dtype=torch.float64)
        return drawn / drawn.norm()


def _replaced(site: Site, batch: Batch, slots: Slots) -> Callable[[Output], Output | None]:
    where = position_rule(site, batch)

    def change(written: Tensor) -> Tensor | None:
        mask = where(written)
        return None if mask is None else filled(written, mask, slots)

    return change


def filled(written: Output, where: Bool[Tensor, "prompt token"], slots: Slots) -> Output:
    """Return the slots of each prompt at its marked tokens, and the original values, bit for bit, elsewhere.

    One slot for each marked token is used token by token; with any other number, each token gets the mean of the
    slots.
    """
    new = written.clone()
    for row, values in enumerate(slots):
        marked = int(where[row].sum())
        if marked:
            values = values.to(written) if len(values) == marked else values.float().mean(0).to(written)
            new[row, where[row]] = values
    return new
