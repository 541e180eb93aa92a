"""Ablation: what a component writes at a site is replaced by something that does not depend on the input's own."""

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
"""For each prompt of a batch, what is put in: one row, or one for each token of the site's positions."""
Control = Literal["none", "random"]


@runtime_checkable
class Replacement(Protocol):
    """What is put in the place of a component."""

    @property
    def identity(self) -> str:
        """Digest of all that decides what is put in."""
        ...

    def slots(self, model: Model, batch: Batch, component: Component, site: Site) -> Mapping[int, Slots]:
        """Return what is put in at each layer of the site."""
        ...


@dataclass(frozen=True, eq=False)
class Constant:
    """The same for every prompt and token: zeros, or a mean over calibration states."""

    vectors: Mapping[int, Float[Tensor, " _width"]] = field(repr=False)
    """By layer."""

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
    """What the component wrote on another prompt, drawn for each input by a seed and by the input itself."""

    bank: Mapping[int, Float[Tensor, "donor _width"]] = field(repr=False)
    """By layer; at positions of several tokens, their mean."""
    seed: int = 0

    @property
    def identity(self) -> str:
        """Digest of donors and seed."""
        donors = {str(layer): digest_of_tensor(each) for layer, each in self.bank.items()}
        return digest_of(["resampled", donors, self.seed])

    def slots(self, model: Model, batch: Batch, component: Component, site: Site) -> Mapping[int, Slots]:  # noqa: ARG002
        """Return one donor's row for each prompt: the same donor at every layer, whatever batch the prompt is in."""
        count = len(next(iter(self.bank.values())))
        drawn = [int(digest_of([self.seed, key]), 16) % count for key in prompt_keys(batch)]
        return {layer: [self.bank[layer][[row]] for row in drawn] for layer in site.layers}


@dataclass(frozen=True, eq=False)
class Ablation:
    """A component replaced at a site; every layer of the site alike."""

    site: Site
    component: Component
    replacement: Replacement
    control: Control = "none"
    """random: what is written to moves as far as the replacement would move it, in a random direction."""
    seed: int = 0
    """Of that direction."""

    def __post_init__(self) -> None:
        if self.site.norm != "plain":
            raise ValueError(
                f"norm is {self.site.norm!r}; what is replaced has a length of its own: leave norm plain"
            )
        if self.control not in get_args(Control):
            raise ValueError(f"control is {self.control!r}; choose one of {', '.join(get_args(Control))}")

    @property
    def identity(self) -> str:
        """Digest of site, component, replacement and control."""
        parts = [str(self.site), self.component.identity, self.replacement.identity, self.control]
        return digest_of(["ablation", *parts, self.seed if self.control == "random" else 0])

    @property
    def only_last(self) -> bool:
        """True if the prompt below its last token runs unedited."""
        return self.site.only_last

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return fresh hooks that replace what the component writes; other runs that this needs are made first."""
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
    """Return the slots of each prompt at its marked tokens, and what was written, bit for bit, elsewhere.

    One slot for each marked token: token by token. Any other number: the mean of the slots at every one of them.
    """
    new = written.clone()
    for row, values in enumerate(slots):
        marked = int(where[row].sum())
        if marked:
            values = values.to(written) if len(values) == marked else values.float().mean(0).to(written)
            new[row, where[row]] = values
    return new
