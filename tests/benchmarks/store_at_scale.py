"""A store of many prompts, layers and dimensions: how fast it is written, read and analysed, and in how much memory.

    python tests/benchmarks/store_at_scale.py --prompts 20000 --folder FOLDER

writes random residual streams with a planted refusal direction through the store that `capture` writes to, reads
them back, finds direction and separability out of core, removes the files, and prints what a larger store takes.
"""

import argparse
import resource
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from regap.geometry.directions import refusal_direction
from regap.geometry.separability import separability
from regap.geometry.states.activations import Activations, StateRow
from regap.geometry.states.index import write_index
from regap.geometry.states.shards import Shards
from regap.geometry.states.store import ShardKey, Store

BATCH = 64
ASKED = 200_000


@dataclass(frozen=True)
class Size:
    """How many numbers there are."""

    prompts: int
    layers: int
    width: int
    dtype: torch.dtype = torch.float32
    """That the model computes in."""

    @property
    def bytes(self) -> int:
        """Of the numbers alone."""
        return self.dtype.itemsize * self.prompts * self.layers * self.width


@dataclass(frozen=True, eq=False)
class Written:
    """States on disk, their bytes there, and how long the store took to write them."""

    states: Activations
    bytes: int
    seconds: float


def write_store(folder: Path, size: Size) -> Written:
    """Write batches as `capture` does, each gone from memory before the next is made; half are harmful."""
    store, paths, groups, seconds = Store(folder), [], [], 0.0
    layers = tuple(range(size.layers))
    for rows, residuals in _batches(size):
        start = time.perf_counter()
        key = ShardKey("simulated", (), layers, tuple(map(str, rows)))
        paths.append(store.write(key, residuals))
        groups.append(rows)
        seconds += time.perf_counter() - start
    shards = Shards.of(paths, groups, size.layers, size.width)
    states = Activations(shards, _rows(size), "text", layers, "simulated")
    write_index(states, shards)
    return Written(states, sum(path.stat().st_size for path in paths), seconds)


def _batches(size: Size) -> Iterator[tuple[list[int], Tensor]]:
    generator = torch.Generator().manual_seed(0)
    refusal = torch.randn(size.layers, size.width, generator=generator)
    refusal *= 2 / refusal.norm(dim=-1, keepdim=True)  # d' of 2: AUROC 0.92
    for start in range(0, size.prompts, BATCH):
        rows = list(range(start, min(start + BATCH, size.prompts)))
        residuals = torch.randn(len(rows), size.layers, size.width, generator=generator)
        residuals.add_(refusal * (torch.tensor(rows) % 2)[:, None, None])
        yield rows, residuals.to(size.dtype).float()


def _rows(size: Size) -> tuple[StateRow, ...]:
    """The first fifth is for calibration."""
    return tuple(
        StateRow(
            str(i),
            "harmful" if i % 2 else "harmless",
            "all",
            "calibration" if i < size.prompts // 5 else "test",
            str(i),
        )
        for i in range(size.prompts)
    )


def _read(states: Activations) -> None:
    for part in states.parts():
        part.residuals.numel()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure a store of the size asked for, and say what 200,000 prompts take at these rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prompts", type=int, default=20_000)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--folder", type=Path, required=True, help="is removed afterwards")
    asked = parser.parse_args()
    size = Size(asked.prompts, asked.layers, asked.width, getattr(torch, asked.dtype))
    asked.folder.parent.mkdir(parents=True, exist_ok=True)
    if asked.folder.exists():
        raise SystemExit(f"folder {asked.folder} exists; name a new one, since it is removed afterwards")
    free = shutil.disk_usage(asked.folder.parent).free
    if free < 1.02 * size.bytes:
        raise SystemExit(
            f"{size.bytes / 1e9:.1f} GB do not fit: {free / 1e9:.1f} GB are free; ask for fewer prompts"
        )
    print(
        f"{size.prompts} prompts x {size.layers} layers x width {size.width}: {size.bytes / 1e9:.1f} GB, {asked.dtype}"
    )
    try:
        _measure(size, asked.folder, asked.resamples)
    finally:
        shutil.rmtree(asked.folder, ignore_errors=True)


def _measure(size: Size, folder: Path, resamples: int) -> None:
    scale = ASKED / size.prompts
    written = write_store(folder, size)
    found = {"written": written.seconds}
    print(f"peak memory after writing: {_peak():.2f} GB")
    start = time.perf_counter()
    _read(written.states)
    found["read"] = time.perf_counter() - start
    start = time.perf_counter()
    refusal = refusal_direction(written.states.calibration)
    found["refusal direction, a fifth of the prompts"] = time.perf_counter() - start
    start = time.perf_counter()
    table = separability([written.states], refusal, resamples=resamples)
    found[f"separability, {resamples} resamples"] = time.perf_counter() - start
    for name, seconds in found.items():
        rate = f", {written.bytes / seconds / 1e6:.0f} MB/s" if name in ("written", "read") else ""
        print(f"{name}: {seconds:.1f} s{rate}; {ASKED} prompts at this rate: {seconds * scale / 60:.1f} min")
    auroc = table[table.measure == "auroc"].value
    print(f"AUROC by layer: {auroc.min():.3f} to {auroc.max():.3f}; peak memory: {_peak():.2f} GB")


if __name__ == "__main__":
    main()
