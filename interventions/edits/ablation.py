"""Ablation and patching: the output of a component is replaced by zeros, a mean, or its output on other inputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.data.pairs import Prompt
from regap.geometry.forward.batches import run_batches
from regap.geometry.forward.carriers import tokens_at
from regap.geometry.forward.hooks import Hook
from regap.geometry.forward.prefix import prefill, whole_prompts
from regap.geometry.forward.runner import Runner
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.positions import Positions
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.edits.components import Change, Component, Output
from regap.interventions.edits.other_arm import OtherArms, prompt_keys
from regap.interventions.edits.site import AtSite, Site, position_rule

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
class Ablation(AtSite):
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

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return new hooks that replace the component's output; other runs that this needs are made first."""
        slots = self.replacement.slots(model, batch, self.component, self.site)
        found = []
        for layer in self.site.layers:
            change = self._replaced(model, batch, slots[layer])
            found += self.component.hooks(model, layer, change, self._away(model, layer))
        return found

    def _replaced(self, model: Model, batch: Batch, slots: Slots) -> Change:
        where = position_rule(model, self.site, batch)

        def change(written: Tensor) -> Tensor | None:
            mask = where(written)
            return None if mask is None else filled(written, mask, slots)

        return change

    def _away(self, model: Model, layer: int) -> Float[Tensor, " width"] | None:
        if self.control == "none":
            return None
        generator = torch.Generator().manual_seed(1000 * self.seed + layer)
        drawn = torch.randn(self.component.width(model), generator=generator, dtype=torch.float64)
        return drawn / drawn.norm()


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


@dataclass(frozen=True, eq=False)
class FromArm:
    """The component's output for the same request in another arm, unedited."""

    twins: OtherArms = field(repr=False)
    """The other arms of the requests in the patched arm."""
    arm: str
    """The arm that it is taken from; taking it from the patched arm is a control that must change nothing."""
    read: Positions | None = None
    """The tokens of the other run that it is taken from, stretched over those that it replaces; None: the same
    positions."""

    @property
    def identity(self) -> str:
        """Digest of the arm, the tokens that are read if they are others, and all other arms."""
        parts = ["from arm", self.arm, self.twins.identity]
        return digest_of([*parts, "stretched", self.read] if self.read else parts)

    def slots(self, model: Model, batch: Batch, component: Component, site: Site) -> Mapping[int, Slots]:
        """Return the component's output at these positions of the other run; read once per batch.

        Raises ModelError if a prompt of the other run has no token to read from.
        """
        positions = self.read or site.positions
        name = f"{model.fingerprint} {self.arm} {component.identity} {positions}"
        if name not in batch.kept:
            layers = [layer for layer in range(model.layers) if layer not in model.crossing]
            other = self.twins.batch_in(model, batch, self.arm)
            if self.read and not bool(other.at(self.read).any(1).all()):
                raise ModelError(
                    f"a prompt in arm {self.arm} has no token at position {self.read} to patch from; choose other "
                    "positions, or leave the pair out"
                )
            batch.kept[name] = read_component(model, other, component, layers, positions)
        if not self.read:
            return batch.kept[name]
        counts = batch.at(site.positions).sum(1).tolist()
        return {
            layer: [stretched(own, count) for own, count in zip(rows, counts, strict=True)]
            for layer, rows in batch.kept[name].items()
        }


def stretched(values: Float[Tensor, "_token width"], count: int) -> Float[Tensor, "_other width"]:
    """Return `count` rows for those of another role, in order: the first for the first, the last for the last.

    As many are taken one by one. Fewer values are each repeated, more are taken by their mean, part by part, so that
    what stood early in the other run stands early here, and every request keeps its own words.
    """
    if not count:
        return values[:0]
    if len(values) <= count:
        return values[[(2 * place + 1) * len(values) // (2 * count) for place in range(count)]]
    ends = [place * len(values) // count for place in range(count + 1)]
    parts = [values[first:last].float().mean(0) for first, last in pairwise(ends)]
    return torch.stack(parts).to(values.dtype)


@torch.inference_mode()
def read_component(
    model: Model, batch: Batch, component: Component, layers: Sequence[int], positions: Positions = "last"
) -> dict[int, list[Float[Tensor, "_token width"]]]:
    """Return the component's unedited output at each layer, for each prompt at every token of the positions.

    Position `last` takes a one-token pass. Raises ModelError if a prompt has no such token.
    """
    found: dict[int, list[Tensor]] = {}
    hooks: list[Hook] = []
    where = tokens_at(model, batch, positions)

    def keep(layer: int) -> Callable[[Tensor], None]:
        def call(written: Tensor) -> None:
            marked = where[:, -written.shape[1] :].to(written.device)
            found[layer] = [each[mask].clone() for each, mask in zip(written, marked, strict=True)]

        return call

    for layer in layers:
        hooks += component.hooks(model, layer, keep(layer))
    prefix = prefill(model, batch) if positions == "last" else whole_prompts(model, batch)
    prefix.run(model, [], hooks)
    return found


def require_parts_add_up(model: Model, batch: Batch, layers: Sequence[int]) -> None:
    """Raise ModelError unless attention and MLP outputs sum to what the block adds, at each layer.

    This tests that the modules were identified correctly.
    """
    attention, mlp, block = (
        read_component(model, batch, Component(kind), layers) for kind in ("attention", "mlp", "block")
    )
    rounded = 1e-3 if torch.finfo(model.hf.dtype).eps < 1e-5 else 0.1
    for layer in layers:
        written = torch.cat([*attention[layer]]) + torch.cat([*mlp[layer]])
        added = torch.cat([*block[layer]])
        off = float((written - added).float().norm() / added.float().norm())
        if off > rounded:
            raise ModelError(
                f"block {layer} of model {model.name} adds something other than its attention and MLP outputs (off by "
                f"{off:.0%}); ablate whole blocks, states or directions"
            )


def component_bank(
    model: Model | Runner,
    prompts: Sequence[Prompt],
    component: Component,
    layers: Sequence[int],
    positions: Positions = "last",
) -> dict[int, Float[Tensor, "prompt width"]]:
    """Return the component's output on each prompt, by layer; at positions with several tokens, their mean.

    Float32, on the CPU, in the order of the prompts.
    """
    runner = Runner.of(model)
    rows: dict[int, dict[int, Tensor]] = {layer: {} for layer in layers}

    def read(batch: Batch) -> None:
        for layer, found in read_component(runner.model, batch, component, layers, positions).items():
            for row, values in zip(batch.rows, found, strict=True):
                rows[layer][row] = values.float().mean(0).cpu()

    advance = runner.track(f"what {component.kind} writes", len(prompts))
    run_batches(runner.model, prompts, runner.limits.prompts, runner.limits.tokens, read, advance)
    return {
        layer: torch.stack([by_row[row] for row in range(len(prompts))]) for layer, by_row in rows.items()
    }
