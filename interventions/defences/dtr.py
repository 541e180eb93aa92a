"""DTR: the weights of image tokens in attention are learned for each prompt, so that it moves towards refusal."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import PairError
from regap.geometry.forward.batches import run_batches
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.forward.image_features import seen_inputs
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.positions import Positions
from regap.geometry.states.store import digest_of
from regap.interventions.defences.calibration import DefenceData, Dose, FittedRule, require_parts
from regap.interventions.edits.site import AtSite, Site
from regap.interventions.edits.token_scale import Written, scale_hooks

STEPS, KEPT_NEAR = 4, 0.1
"""Gradient steps, and the weight of the distance to the unedited state; both as published."""
PARTS: tuple[Written, ...] = ("keys", "values")
States = Callable[[Float[Tensor, "prompt token"]], Float[Tensor, "prompt d_model"]]
"""Scales of all tokens -> the last token's state, with its gradient."""


@dataclass(frozen=True, eq=False)
class Reweighting(FittedRule):
    """The scale of each image token after a few gradient steps from 1, within [0, 1]."""

    refusal: Float[Tensor, " d_model"] = field(repr=False)
    """Unit vector that points to refusal."""
    layer: int
    """The block whose output at the last token is read."""
    scaled: tuple[int, ...]
    """The blocks whose keys and values are scaled while the scales are learned."""
    positions: Positions
    rate: float
    """Change of a scale for a gradient of 1."""

    def __call__(self, model: Model, batch: Batch) -> Float[Tensor, "prompt token"]:
        """Return the scales of all tokens of the batch; they are learned once a batch."""
        name = f"{model.fingerprint} scales {self.identity}"
        if name not in batch.kept:
            states, where = self.states(model, batch), batch.at(self.positions)
            batch.kept[name] = learned_scales(states, self.refusal, where, self.rate)
        return batch.kept[name]

    def states(self, model: Model, batch: Batch) -> States:
        """Return the function from scales to the last token's state at the layer that is read."""

        def states(scale: Tensor) -> Tensor:
            found: list[Tensor] = []
            with torch.no_grad():  # the tower does not depend on the scales
                seen = seen_inputs(model, batch)
            read = Hook(model.hook_name(self.layer), lambda residual: found.append(residual[:, -1]))
            with hooked(model, [*scale_hooks(model, batch, self.scaled, PARTS, scale), read]):
                model.hf(**_anew(seen), use_cache=False, logits_to_keep=1)
            return found[0]

        return states


@dataclass(frozen=True, eq=False)
class Reweighted(AtSite):
    """Keys and values of each image token times 1 - strength * (1 - its learned scale), at least 0."""

    site: Site
    rule: Reweighting
    strength: float

    @property
    def identity(self) -> str:
        """Digest of site, rule and strength."""
        return digest_of(["reweighted", str(self.site), self.rule.identity, self.strength])

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Learn the scales of the batch, then return new hooks that apply them."""
        if not self.strength:
            return []
        scale = (1 - self.strength * (1 - self.rule(model, batch))).clamp(0, 1)
        return scale_hooks(model, batch, self.site.layers, PARTS, scale)


def dtr(calibration: DefenceData, site: Site) -> Dose:
    """Return k, v <- a' k, a' v at image tokens, a' = clip(1 - strength (1 - a), 0, 1), a learned for each prompt.

    a minimises -<f(a), r> + 0.1 |f(a) - f(1)|, f the last token's state, r the refusal direction, by 4 gradient steps
    from 1 within [0, 1]. Source: DTR, arXiv 2505.17132, abstract and summaries: this loss, 4 steps and 0.1, scales of
    the KV cache, one middle layer read. Needs: 4 passes with gradients; keys and values with projections of their own.
    Assumed: keys and values are scaled where they are made, at every block, so that later text reads scaled tokens too,
    and before any norm of keys, which undoes it there; f at `read_layer`; plain steps, of a size at which the largest
    change on the mean harmful calibration image is a quarter in the first one; no token is dropped. Raises PairError
    where f does not move.
    """
    there = calibration.at_media(site)
    require_parts(calibration, "dtr", PARTS, range(calibration.model.layers))
    if "dtr" not in calibration.kept:
        calibration.kept["dtr"] = fitted_reweighting(calibration)
    rule = calibration.kept["dtr"]
    return lambda strength: [Reweighted(there, rule, strength)]


def fitted_reweighting(calibration: DefenceData) -> Reweighting:
    """Return the rule with its rate, from the gradients on harmful calibration images."""
    layer, runner = calibration.read_layer, calibration.runner
    every = tuple(range(calibration.model.layers))
    unset = Reweighting(calibration.refusal.at(layer), layer, every, calibration.media, 0.0)
    asked = calibration.pairs.calibration.where(label="harmful", arm=calibration.image_arm)
    prompts = [pair.prompts[calibration.image_arm] for pair in asked]
    largest: list[float] = []

    def look(batch: Batch) -> None:
        states, where = unset.states(runner.model, batch), batch.at(unset.positions)
        found = first_gradient(states, unset.refusal, where)
        largest.extend(found.abs().amax(1).tolist())

    run_batches(runner.model, prompts, runner.limits.prompts, runner.limits.tokens, look)
    mean = sum(largest) / len(largest)
    if not 0 < mean < float("inf"):
        raise PairError(
            f"scaling keys and values of image tokens does not move the last token of model {calibration.model.name} "
            f"at block {layer}, so dtr has nothing to learn; leave it out"
        )
    return replace(unset, rate=1 / (STEPS * mean))


def learned_scales(
    states: States,
    refusal: Float[Tensor, " d_model"],
    where: Bool[Tensor, "prompt token"],
    rate: float,
) -> Float[Tensor, "prompt token"]:
    """Return the scales after STEPS gradient steps; 1 at tokens that are not marked."""
    scale, start = torch.ones(where.shape, device=where.device), None
    for _ in range(STEPS):
        gradient, state = _gradient(states, scale, refusal, start)
        start = state if start is None else start
        scale = torch.where(where, (scale - rate * gradient).clamp(0, 1), scale)
    return scale


def first_gradient(
    states: States, refusal: Float[Tensor, " d_model"], where: Bool[Tensor, "prompt token"]
) -> Float[Tensor, "prompt token"]:
    """Return the gradient of the loss at scales of 1; 0 at tokens that are not marked."""
    gradient, _ = _gradient(states, torch.ones(where.shape, device=where.device), refusal, None)
    return gradient * where


def _gradient(
    states: States, scale: Tensor, refusal: Tensor, start: Tensor | None
) -> tuple[Float[Tensor, "prompt token"], Float[Tensor, "prompt d_model"]]:
    with torch.inference_mode(False), torch.enable_grad():
        asked = scale.clone().requires_grad_()
        state = states(asked).float()
        loss = -(state @ refusal.clone().to(state)).sum()
        if start is not None:  # at the start the distance is 0, and so is its gradient
            loss = loss + KEPT_NEAR * (state - start).norm(dim=-1).sum()
        [gradient] = torch.autograd.grad(loss, asked)
    return gradient, state.detach()


def _anew(value: Any) -> Any:
    """Return a copy of inputs that gradients may pass through, whatever mode they were made in."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {name: _anew(each) for name, each in value.items()}
    if isinstance(value, SimpleNamespace):
        return SimpleNamespace(**_anew(vars(value)))
    return type(value)(map(_anew, value)) if isinstance(value, list | tuple) else value
