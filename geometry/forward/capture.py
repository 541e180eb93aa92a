"""Residual streams of pairs in arms, at one position of every layer."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import Tensor

from regap.geometry.data.pairs import Pairs, Prompt
from regap.geometry.forward.batches import BatchSplitter, batch_rows, prefetch
from regap.geometry.forward.hooks import Edit, as_edits
from regap.geometry.forward.pending_states import PendingStates, start_capture
from regap.geometry.forward.runner import Advance, Runner
from regap.geometry.forward.token_capture import capture_every_token
from regap.geometry.models.model import Model
from regap.geometry.one_or_several import as_layers, as_names
from regap.geometry.prompts.batch import Batch, prompt_digest, render
from regap.geometry.prompts.positions import Position, Positions
from regap.geometry.states.activations import Activations, StateRow
from regap.geometry.states.index import model_folder, write_index
from regap.geometry.states.shards import Shards
from regap.geometry.states.store import ShardKey, Store, Stored
from regap.geometry.states.token_states import TokenStates


@overload
def capture(  # pyright: ignore[reportOverlappingOverload] - "all" is the one name with another result
    model: Model | Runner,
    pairs: Pairs,
    arms: Sequence[str] | str | None = None,
    *,
    edits: Sequence[Edit] | Edit = (),
    layers: Sequence[int] | int | None = None,
    position: Literal["all"],
) -> dict[str, TokenStates]: ...
@overload
def capture(
    model: Model | Runner,
    pairs: Pairs,
    arms: Sequence[str] | str | None = None,
    *,
    edits: Sequence[Edit] | Edit = (),
    layers: Sequence[int] | int | None = None,
    position: Positions = "last",
) -> dict[str, Activations]: ...
def capture(
    model: Model | Runner,
    pairs: Pairs,
    arms: Sequence[str] | str | None = None,
    *,
    edits: Sequence[Edit] | Edit = (),
    layers: Sequence[int] | int | None = None,
    position: Positions = "last",
) -> Any:
    """Return, for each arm, the residual streams after each block at one position, under the edits.

    `position` is the last prompt token by default. A role such as image or request, and a rule such as image:blank,
    give the mean over their tokens; image[0] gives one token; `all` gives every token, as TokenStates in memory. Tokens
    of a rule are found in an unedited pass. Prompts are run in left-padded batches sorted by length, within the
    runner's limits. A runner with a store keeps each batch in STORE/MODEL/ARM (MODEL: a digest of the model) and does
    not compute it again for the same prompts, images, template, edits and position; an arm that takes more memory than
    the limits allow is then read from disk. `arms`, `edits` and `layers` may be one value or several. Raises PairError
    for an arm that no pair has, ConfigError for an unknown position, and ModelError for a layer that the model does not
    have, before the model is run.
    """
    runner, pairs = Runner.of(model), Pairs.of(pairs)
    Position.of(position)
    edits = as_edits(edits)
    chosen = tuple(range(runner.model.layers)) if layers is None else as_layers(layers)
    wanted = {arm: pairs.where(arm=arm) for arm in (pairs.arms if arms is None else as_names(arms))}
    if position == "all":
        return {
            arm: capture_every_token(runner, list(having), arm, chosen, edits)
            for arm, having in wanted.items()
        }
    advance = runner.track(f"residual streams, {runner.model.name}", sum(map(len, wanted.values())))
    found = {}
    for arm, having in wanted.items():
        prompts = [pair.prompts[arm] for pair in having]
        kept = Store(runner.folder / model_folder(runner.model.fingerprint) / arm) if runner.folder else None
        task = _Task(runner.model, prompts, tuple(edits), chosen, position, kept)
        groups = batch_rows(runner.model, prompts, runner.limits.prompts, runner.limits.tokens)
        held = _held(task, groups, runner.limits.bytes_in_memory, advance)
        rows = tuple(StateRow.of(pair) for pair in having)
        found[arm] = Activations(
            held.source, rows, arm, chosen, runner.model.fingerprint, task.identities, position
        )
        if kept is not None:
            write_index(found[arm], held.shards)
    return found


@dataclass(frozen=True, eq=False)
class _Held:
    """The states of an arm, in memory or on disk, and their shards on disk."""

    source: Tensor | Shards
    shards: Shards


@dataclass(frozen=True, eq=False)
class _Prepared:
    """One batch, found in the store or ready to run."""

    rows: list[int]
    key: ShardKey | None
    stored: Stored | None
    batches: list[Batch] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Started:
    """One batch whose states are being computed, and the number of parts that batches are split into by now."""

    prepared: _Prepared
    coming: list[PendingStates]
    parts: int


@dataclass(frozen=True, eq=False)
class _Task:
    """Which states of the prompts of one arm are read, and where they are stored."""

    model: Model
    prompts: list[Prompt]
    edits: tuple[Edit, ...]
    layers: tuple[int, ...]
    position: str
    store: Store | None

    @property
    def identities(self) -> tuple[str, ...]:
        return tuple(edit.identity for edit in self.edits)

    def prepare(self, fitting: BatchSplitter, rows: list[int]) -> _Prepared:
        """Look the batch up in the store, or prepare it; runs in the background."""
        if self.store is None:
            return _Prepared(rows, None, None, fitting.collate(self.prompts, rows))
        prompts = [self.prompts[row] for row in rows]
        digests = tuple(prompt_digest(render(self.model, prompt), prompt) for prompt in prompts)
        key = ShardKey(self.model.fingerprint, self.identities, self.layers, digests, self.position)
        stored = self.store.read(key)
        batches = [] if stored else fitting.collate(self.prompts, rows)
        return _Prepared(rows, key, stored, batches)

    def start(self, fitting: BatchSplitter, prepared: _Prepared) -> _Started:
        if prepared.stored:
            fitting.parts = max(
                fitting.parts, prepared.stored.parts
            )  # an interrupted run continues with as many parts
            return _Started(prepared, [], fitting.parts)
        coming = fitting.run(
            self.prompts,
            prepared.rows,
            lambda batch: start_capture(self.model, batch, self.layers, self.edits, self.position),
            prepared.batches,
        )
        return _Started(prepared, coming, fitting.parts)

    def finish(self, started: _Started) -> Tensor:
        if started.prepared.stored:
            return started.prepared.stored.residuals
        states = torch.cat([each.wait() for each in started.coming])
        if self.store and started.prepared.key:
            self.store.write(started.prepared.key, states, started.parts)
        return states


def _held(task: _Task, groups: list[list[int]], in_memory: int, advance: Advance) -> _Held:
    shape = (len(task.prompts), len(task.layers), task.model.width)
    keep = task.store is None or 4 * math.prod(shape) <= in_memory
    residuals = torch.empty(shape if keep else (0,))
    paths: list[Path] = []
    for prepared, states in _run(task, groups):
        if keep:
            residuals[prepared.rows] = states
        if task.store and prepared.key:
            paths.append(task.store.path(prepared.key))
        advance(len(prepared.rows))
    shards = Shards.of(paths, groups if paths else [], shape[1], shape[2])
    return _Held(residuals if keep else shards, shards)


def _run(task: _Task, groups: list[list[int]]) -> Iterator[tuple[_Prepared, Tensor]]:
    """Yield the states of each batch, stored if there is a store; the next batches are prepared meanwhile."""
    fitting = BatchSplitter(task.model)
    on_the_way: deque[_Started] = deque()
    delay = 1 if task.model.device.type == "cuda" else 0  # a batch is copied off while the next one runs
    for prepared in prefetch(lambda rows: task.prepare(fitting, rows), groups):
        on_the_way.append(task.start(fitting, prepared))
        if len(on_the_way) > delay:
            started = on_the_way.popleft()
            yield started.prepared, task.finish(started)
    for started in on_the_way:
        yield started.prepared, task.finish(started)
