"""A LLaVA-shaped model of 8 layers, width 256 and 512 prompt tokens: bare, and under our hooks."""

import copy
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import pytest

from regap.geometry.data.pairs import Prompt
from regap.geometry.models.loading import Model, load
from regap.geometry.prompts.batch import Batch, collate
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
BATCH, ROUNDS = 4, 12


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
def compared(benchmark) -> Callable[..., None]:
    """Benchmark `ours`, with every rival timed between its rounds, and report the ratios of the medians.

    Beside it the median of the ratios round by round, which a load that comes and goes hardly moves.
    """

    def compare(
        ours: Callable[[], object],
        bare: Callable[[], object],
        rounds: int = ROUNDS,
        **rivals: Callable[[], object],
    ) -> None:
        contestants = {"bare": bare, **rivals}
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        turn = itertools.count()

        def time_rivals() -> None:
            # In turn: whoever ran before leaves its memory behind, to be cleared away in the next one's time.
            first = next(turn) % len(contestants)
            names = list(contestants)
            for name in names[first:] + names[:first]:
                start = time.perf_counter()
                contestants[name]()
                seconds[name].append(time.perf_counter() - start)

        ours()
        benchmark.pedantic(ours, setup=time_rivals, rounds=rounds, warmup_rounds=1)
        if not benchmark.stats:
            return  # benchmarks are disabled: each ran once
        own, data = benchmark.stats.stats.median, benchmark.stats.stats.data
        for name, times in seconds.items():
            benchmark.extra_info[f"{name}_median_s"] = median(times[1:])
            benchmark.extra_info[f"time_over_{name}"] = own / median(times[1:])
            print(f"\n{benchmark.name}: {own / median(times[1:]):.3f} x the median of {name}", end="")
            by_round = median(ours / theirs for ours, theirs in zip(data, times[1:], strict=True))
            benchmark.extra_info[f"time_over_{name}_by_round"] = by_round
            print(f" ({by_round:.3f} round by round)", end="")

    return compare
