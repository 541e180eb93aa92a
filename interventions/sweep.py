"""Many edits of the same prompts, each at the cost of one token."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction
from regap.geometry.forward.batches import run_batches
from regap.geometry.forward.hooks import Edit
from regap.geometry.forward.parallel_last_token import run_versions
from regap.geometry.forward.prefix import run
from regap.geometry.forward.runner import Runner
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch


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
    with many lists in one pass; any other list costs a full pass. The results equal those of full passes.
    """
    runner = Runner.of(model)
    model, limits = runner.model, runner.limits
    prompts = [pair.prompts[arm] for pair in pairs.where(arm=arm)]
    directions = torch.stack([refusal.at(layer) for layer in read_layers])
    coordinates = torch.empty(len(edits), len(prompts), len(read_layers), dtype=torch.float64)
    first_tokens = torch.empty(len(edits), len(prompts), dtype=torch.long)

    short = [i for i, listed in enumerate(edits) if all(edit.only_last for edit in listed)]
    long = [i for i in range(len(edits)) if i not in short]

    def run_edits(batch: Batch) -> None:
        rows = torch.tensor(batch.rows)
        hooks = [[hook for edit in edits[i] for hook in edit.hooks(model, batch)] for i in short]
        for found in run_versions(model, batch, hooks, read_layers, directions):
            places = torch.tensor([short[place] for place in found.places])
            coordinates[places[:, None], rows] = found.coordinates
            first_tokens[places[:, None], rows] = found.logits.argmax(-1)
        for i in long:
            seen = run(model, batch, read_layers, edits[i])
            coordinates[i, rows] = torch.einsum("pld,ld->pl", seen.states.double(), directions)
            first_tokens[i, rows] = seen.logits.argmax(-1)

    advance = runner.track(f"{len(edits)} edits, {arm}", len(prompts))
    run_batches(model, prompts, limits.prompts, limits.tokens, run_edits, advance)
    return Sweep(coordinates, first_tokens)
