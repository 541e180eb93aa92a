"""Coordinates, log-odds of a refusal and first tokens under ablations, stored batch by batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from regap.analyses.ablation.cells import AblationCell
from regap.analyses.judges.first_token import log_odds
from regap.analyses.runs.measured import Measured
from regap.errors import PairError, StoreError
from regap.geometry.files import note_damaged
from regap.geometry.forward.batches import BatchSplitter, batch_rows
from regap.geometry.forward.parallel_last_token import run_versions
from regap.geometry.forward.prefix import LastToken, prefill, run, run_last_token
from regap.geometry.prompts.batch import Batch, prompt_digest, render
from regap.geometry.states.store import digest_of, digest_of_tensor, read_tensors, write_tensors

WAYS = ("packed", "alone", "full")
"""How passes are run. Each way has its own pass without edits, so that before and after are rounded alike."""


@dataclass(frozen=True, eq=False)
class AblationReadings:
    """Readings of each prompt under each ablation."""

    z: Float[Tensor, "cell prompt layer"] = field(repr=False)
    """Coordinate along the refusal direction, at every layer."""
    log_odds: Float[Tensor, "cell prompt"] = field(repr=False)
    """Log-odds that the first token opens a refusal, in nats; 0 if the model refuses nothing."""
    first: Float[Tensor, "cell prompt"] = field(repr=False)
    """1 if the likeliest first token opens a refusal, else 0."""

    @classmethod
    def empty(cls, cells: int, prompts: int, layers: int) -> "AblationReadings":
        """Return readings of this size, all 0."""
        return cls(
            torch.zeros(cells, prompts, layers), torch.zeros(cells, prompts), torch.zeros(cells, prompts)
        )


@dataclass(frozen=True, eq=False)
class _Task:
    seen: Measured
    cells: Sequence[AblationCell]
    tokens: frozenset[int]

    @property
    def identity(self) -> list[object]:
        cells = [[cell.way, cell.edit.identity] for cell in self.cells]
        vectors = digest_of_tensor(self.seen.refusal.vectors)
        return [self.seen.model.fingerprint, cells, sorted(self.tokens), vectors]

    def read(self, batch: Batch) -> AblationReadings:
        """Read the batch under every cell; the passes without edits of the three ways come last."""
        count = len(self.cells) + len(WAYS)
        found = AblationReadings.empty(count, len(batch), self.seen.model.layers)
        for place, way in enumerate(WAYS, len(self.cells)):
            own = [i for i, cell in enumerate(self.cells) if cell.way == way]
            if own:
                self._read(way, batch, [*own, place], found)
        return found

    def _read(self, way: str, batch: Batch, places: list[int], found: AblationReadings) -> None:
        model, directions = self.seen.model, self.seen.refusal.vectors
        edits = [[self.cells[place].edit] for place in places[:-1]] + [[]]

        def put(place: int, coordinates: Tensor, logits: Tensor) -> None:
            found.z[place] = coordinates.float()
            if not self.tokens:
                return
            found.log_odds[place] = log_odds(logits, self.tokens).float()
            found.first[place] = torch.isin(logits.argmax(-1), torch.tensor(sorted(self.tokens))).float()

        def put_seen(place: int, seen: LastToken) -> None:
            put(place, torch.einsum("pld,ld->pl", seen.states.double(), directions), seen.logits)

        layers = range(model.layers)
        hooks = ([hook for edit in some for hook in edit.hooks(model, batch)] for some in edits)
        if way == "packed":
            for some in run_versions(model, batch, list(hooks), layers, directions):
                for at, coordinates, logits in zip(some.places, some.coordinates, some.logits, strict=True):
                    put(places[at], coordinates, logits)
        elif way == "alone":
            for place, each in zip(places, hooks, strict=True):
                put_seen(place, run_last_token(model, prefill(model, batch), layers, each))
        else:
            for place, some in zip(places, edits, strict=True):
                put_seen(place, run(model, batch, layers, some))


def refusal_tokens(seen: Measured) -> frozenset[int]:
    """Return the first tokens of refusals; empty if the model refuses nothing, so that only z can be read."""
    try:
        return seen.refusal_tokens
    except PairError:
        return frozenset()


def readings(
    seen: Measured, arm: str, cells: Sequence[AblationCell]
) -> tuple[AblationReadings, AblationReadings]:
    """Return the readings of every test prompt in the arm under each ablation, and without it, cell by cell.

    Stored batches of the same model, prompts and ablations are not run again.
    """
    task, limits, folder = _Task(seen, cells, refusal_tokens(seen)), seen.runner.limits, seen.runner.folder
    prompts = [pair.prompts[arm] for pair in seen.pairs.test.where(arm=arm)]
    advance = seen.runner.track(f"{len(cells)} ablations, {arm}", len(prompts))
    identity, fitting = digest_of(task.identity), BatchSplitter(seen.model)
    every = AblationReadings.empty(len(cells) + len(WAYS), len(prompts), seen.model.layers)
    for rows in batch_rows(seen.model, prompts, limits.prompts, limits.tokens):
        digests = [prompt_digest(render(seen.model, prompts[row]), prompts[row]) for row in rows]
        path = folder / "ablations" / f"{digest_of([identity, digests])}.safetensors" if folder else None
        part = _kept(path, lambda rows=rows: fitting.run(prompts, rows, task.read))
        every.z[:, rows], every.log_odds[:, rows], every.first[:, rows] = part.z, part.log_odds, part.first
        advance(len(rows))
    plain = [len(cells) + WAYS.index(cell.way) for cell in cells]
    own = range(len(cells))
    return _chosen(every, list(own)), _chosen(every, plain)


def _chosen(found: AblationReadings, places: list[int]) -> AblationReadings:
    return AblationReadings(found.z[places].double(), found.log_odds[places].double(), found.first[places])


def _kept(path: Path | None, compute: Callable[[], list[AblationReadings]]) -> AblationReadings:
    if path is not None and path.is_file():
        try:
            return AblationReadings(**read_tensors(path, path.stem)[0])
        except (StoreError, TypeError):
            note_damaged(path)
    parts = compute()
    whole = {name: torch.cat([vars(part)[name] for part in parts], 1) for name in vars(parts[0])}
    found = AblationReadings(**whole)
    if path is not None:
        write_tensors(path, vars(found), {}, of=path.stem)
    return found
