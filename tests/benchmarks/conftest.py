"""A LLaVA-shaped model of 8 layers, width 256 and 512 prompt tokens: bare, and under our hooks."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import pytest

from regap.geometry.models import Model, load
from regap.geometry.pairs import Prompt
from regap.geometry.prompts import Batch, collate
from regap.organism.checkpoint import Architecture, build_model, build_processor
from regap.organism.prompts import HeldOut, held_out_pairs

SHAPE = Architecture(
    decoder_layers=8,
    decoder_width=256,
    decoder_heads=8,
    decoder_inner=688,
    tower_layers=4,
    image_size=192,
    patch_size=12,
)
BATCH, ROUNDS = 4, 9


@dataclass(frozen=True, eq=False)
class Subject:
    """The same weights twice, and one batch of prompts of 512 tokens."""

    bare: Any
    """A plain Hugging Face model, sdpa, no hooks."""
    model: Model
    batch: Batch
    prompts: list[Prompt]


@pytest.fixture(scope="session")
def subject() -> Subject:
    hf = build_model(SHAPE, seed=0)
    bare = copy.deepcopy(hf)
    model = load(hf, processor=build_processor(SHAPE))
    pictures = next(iter(held_out_pairs(HeldOut(1, 1, 1)).test)).prompts["typographic"].pictures
    missing = 512 - collate(model, [Prompt("<image>", pictures)], [0]).inputs["input_ids"].shape[1]
    prompts = [Prompt("<image> " + " ".join(["please"] * missing), pictures)] * BATCH
    batch = collate(model, prompts, range(BATCH))
    assert batch.inputs["input_ids"].shape == (BATCH, 512)
    return Subject(bare, model, batch, prompts)


@pytest.fixture
def compared(benchmark) -> Callable[[Callable[[], object], Callable[[], object]], None]:
    """Benchmark `ours`, with `bare` timed between its rounds, and report the ratio of the medians."""

    def compare(ours: Callable[[], object], bare: Callable[[], object]) -> None:
        seconds: list[float] = []

        def timed_bare() -> None:
            start = time.perf_counter()
            bare()
            seconds.append(time.perf_counter() - start)

        ours()
        benchmark.pedantic(ours, setup=timed_bare, rounds=ROUNDS, warmup_rounds=1)
        if benchmark.stats:  # absent when benchmarks are disabled: then both ran once
            benchmark.extra_info["bare_median_s"] = median(seconds[1:])
            benchmark.extra_info["time_over_bare"] = benchmark.stats.stats.median / median(seconds[1:])
            print(f"\n{benchmark.name}: {benchmark.extra_info['time_over_bare']:.3f} x the bare median")

    return compare
