"""Activation patching: the output of a component in another run replaces that in this run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ModelError, PairError
from regap.geometry.data.pairs import Prompt
from regap.geometry.forward.batches import run_batches
from regap.geometry.forward.hooks import Hook
from regap.geometry.forward.prefix import prefill, whole_prompts
from regap.geometry.forward.runner import Runner
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, Positions, collate
from regap.geometry.states.store import digest_of
from regap.interventions.edits.ablation import Slots
from regap.interventions.edits.components import Component
from regap.interventions.edits.other_arm import OtherArms, prompt_keys
from regap.interventions.edits.site import Site


@dataclass(frozen=True, eq=False)
class FromArm:
    """The component's output for the same request in another arm, unedited."""

    twins: OtherArms = field(repr=False)
    """The other arms of the requests in the patched arm."""
    arm: str
    """The arm that it is taken from; taking it from the patched arm is a control that must change nothing."""

    @property
    def identity(self) -> str:
        """Digest of the arm and of all other arms."""
        return digest_of(["from arm", self.arm, self.twins.identity])

    def slots(self, model: Model, batch: Batch, component: Component, site: Site) -> Mapping[int, Slots]:
        """Return the component's output at the same positions of the other run; read once per batch."""
        name = f"{model.fingerprint} {self.arm} {component.identity} {site.positions}"
        if name not in batch.kept:
            layers = [layer for layer in range(model.layers) if layer not in model.crossing]
            batch.kept[name] = read_component(
                model, self._other(model, batch), component, layers, site.positions
            )
        return batch.kept[name]

    def _other(self, model: Model, batch: Batch) -> Batch:
        name = f"{model.fingerprint} {self.arm} batch"
        if name not in batch.kept:
            prompts = [self._prompt(key) for key in prompt_keys(batch)]
            batch.kept[name] = collate(model, prompts, range(len(prompts)))
        return batch.kept[name]

    def _prompt(self, key: str) -> Prompt:
        arms = self.twins.prompts.get(key)
        if arms is None or self.arm not in arms:
            raise PairError(f"an input has no arm {self.arm} to patch from; give pairs that have both arms")
        return arms[self.arm]


@torch.inference_mode()
def read_component(
    model: Model, batch: Batch, component: Component, layers: Sequence[int], positions: Positions = "last"
) -> dict[int, list[Float[Tensor, "_token width"]]]:
    """Return the component's unedited output at each layer, for each prompt at every token of the positions.

    Position `last` takes a one-token pass. Raises ModelError if a prompt has no such token.
    """
    found: dict[int, list[Tensor]] = {}
    hooks: list[Hook] = []
    where = batch.at(positions)

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
