"""Many edits of the same prompts, each at the cost of one token."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction
from regap.geometry.forward.batches import run_batches
from regap.geometry.forward.hooks import Edit, Hook
from regap.geometry.forward.parallel_last_token import run_versions
from regap.geometry.forward.prefix import prefill, prefill_under, run
from regap.geometry.forward.runner import Runner
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.site import in_parts


@dataclass(frozen=True, eq=False)
class Sweep:
    """Coordinates and first token of each prompt under each of several edits, at the last prompt token."""

    coordinates: Float[Tensor, "edit prompt layer"] = field(repr=False)
    """z along the refusal direction at each read layer."""
    first_tokens: Int[Tensor, "edit prompt"] = field(repr=False)
    """The first token of greedy decoding."""


def sweep(
    model: Model | Runner,
    pairs: Pairs,
    arm: str,
    edits: Sequence[Sequence[Edit]],
    refusal: Direction,
    read_layers: Sequence[int],
) -> Sweep:
    """Return coordinates and first tokens of every pair in the arm under each list of edits.

    Prompts are run once up to their last token. A list of edits that act only on the last token then costs one token,
    with many lists in one pass. Lists that have their other edits in common share one pass under these, if each of
    them changes every token by itself. Any other list costs a full pass. The results equal those of full passes.
    """
    runner = Runner.of(model)
    model, limits = runner.model, runner.limits
    prompts = [pair.prompts[arm] for pair in pairs.where(arm=arm)]
    directions = torch.stack([refusal.at(layer) for layer in read_layers])
    coordinates = torch.empty(len(edits), len(prompts), len(read_layers), dtype=torch.float64)
    first_tokens = torch.empty(len(edits), len(prompts), dtype=torch.long)
    groups = _sharing(edits)

    def run_group(batch: Batch, places: Sequence[int]) -> None:
        rows = torch.tensor(batch.rows)
        early = _early(edits[places[0]])
        if early and len(places) == 1:
            for i in places:
                seen = run(model, batch, read_layers, edits[i])
                coordinates[i, rows] = torch.einsum("pld,ld->pl", seen.states.double(), directions)
                first_tokens[i, rows] = seen.logits.argmax(-1)
            return
        prefix = prefill_under(model, batch, _hooks(model, batch, early)) if early else prefill(model, batch)
        versions = [_hooks(model, batch, edits[i]) for i in places]
        for found in run_versions(model, batch, versions, read_layers, directions, prefix=prefix):
            these = torch.tensor([places[at] for at in found.places])
            coordinates[these[:, None], rows] = found.coordinates
            first_tokens[these[:, None], rows] = found.logits.argmax(-1)

    def run_edits(batch: Batch) -> None:
        for places in groups:
            run_group(batch, places)

    advance = runner.track(f"{len(edits)} edits, {arm}", len(prompts))
    run_batches(model, prompts, limits.prompts, limits.tokens, run_edits, advance)
    return Sweep(coordinates, first_tokens)


def _early(edits: Sequence[Edit]) -> list[Edit]:
    """Return the edits that change more than the last token."""
    return [edit for edit in edits if not edit.only_last]


def _hooks(model: Model, batch: Batch, edits: Sequence[Edit]) -> list[Hook]:
    return [hook for edit in edits for hook in edit.hooks(model, batch)]


def _sharing(edits: Sequence[Sequence[Edit]]) -> list[list[int]]:
    """Return the places of the lists that can share a prefix, group by group."""
    groups: dict[Any, list[int]] = {}
    for place, listed in enumerate(edits):
        early = _early(listed)
        key = tuple(edit.identity for edit in early) if in_parts(early) else place
        groups.setdefault(key, []).append(place)
    return list(groups.values())
