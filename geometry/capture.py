"""Residual streams of pairs in arms, at the last prompt token of every layer."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.activations import Activations, Row
from regap.geometry.batches import batch_rows
from regap.geometry.forward import Edit, run
from regap.geometry.models import Model
from regap.geometry.pairs import Pairs, Prompt
from regap.geometry.prompts import collate, prompt_digest, render
from regap.geometry.store import ShardKey, Store

BATCH = 64
"""Prompts in one forward pass; results depend on it by rounding alone."""
Progress = Callable[[int], None]
"""Is told, after each batch, how many prompts are done."""


def capture(
    model: Model,
    pairs: Pairs,
    arms: Sequence[str] | None = None,
    *,
    edits: Sequence[Edit] = (),
    layers: Sequence[int] | None = None,
    batch_size: int = BATCH,
    store: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Activations]:
    """Return, for each arm, the residual streams at the last prompt token after each block, under the edits.

    Prompts go through in left-padded batches sorted by length; with a `store` folder each batch is kept there
    and never computed again for the same model, prompts, images, template and edits. Raises PairError for an
    arm that no pair has, before the model is run.
    """
    chosen = tuple(range(model.layers)) if layers is None else tuple(layers)
    wanted = {arm: pairs.where(arm=arm) for arm in (pairs.arms if arms is None else arms)}
    return {
        arm: _capture_arm(model, arm, having, edits, chosen, batch_size, store, progress)
        for arm, having in wanted.items()
    }


def _capture_arm(
    model: Model,
    arm: str,
    pairs: Pairs,
    edits: Sequence[Edit],
    layers: tuple[int, ...],
    batch_size: int,
    store: str | Path | None,
    progress: Progress | None,
) -> Activations:
    prompts = [pair.prompts[arm] for pair in pairs]
    residuals = torch.empty(len(prompts), len(layers), model.width)
    for rows in batch_rows(model, prompts, batch_size):
        group = [prompts[row] for row in rows]
        residuals[rows] = _batch_states(
            model, group, edits, layers, Store(Path(store) / arm) if store else None
        )
        if progress:
            progress(len(rows))
    identities = tuple(edit.identity for edit in edits)
    return Activations(
        residuals, tuple(Row.of(pair) for pair in pairs), arm, layers, model.fingerprint, identities
    )


def _batch_states(
    model: Model,
    prompts: Sequence[Prompt],
    edits: Sequence[Edit],
    layers: tuple[int, ...],
    store: Store | None,
) -> Float[Tensor, "prompt layer d_model"]:
    def compute() -> Tensor:
        return run(model, collate(model, prompts, range(len(prompts))), layers, edits).states

    if store is None:
        return compute()
    digests = tuple(prompt_digest(render(model, prompt), prompt) for prompt in prompts)
    identities = tuple(edit.identity for edit in edits)
    return store.shard(ShardKey(model.fingerprint, identities, layers, digests), compute)
