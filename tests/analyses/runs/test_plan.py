"""What is planned from the configuration is what the run then takes."""

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from regap.analyses.runs.plan import (
    Work,
    as_rows,
    image_size_of,
    measured_rate,
    plan,
    work_of_counts,
    work_of_pairs,
)
from regap.errors import ModelError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.capture import capture
from regap.geometry.forward.pending_states import read
from regap.geometry.forward.prefix import prefill
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model, load, load_without_weights
from regap.geometry.prompts.batch import collate
from regap.organism.prompts import HeldOut, held_out_pairs


@pytest.fixture(scope="module")
def unloaded() -> Model:
    return load_without_weights("organism")


@pytest.fixture(scope="module")
def loaded() -> Model:
    return load("organism")


def test_parameters_are_counted_exactly_and_none_is_loaded(unloaded: Model, loaded: Model) -> None:
    found = plan(unloaded, work_of_counts(unloaded, 10, 20), rate=1e9)
    real = {id(parameter): parameter.numel() for parameter in loaded.hf.parameters()}
    assert found.sizes.parameters == sum(real.values()) == 1_750_176
    assert {parameter.device.type for parameter in unloaded.hf.parameters()} == {"meta"}
    assert found.weight_bytes == 4 * found.sizes.parameters
    half = load_without_weights("organism", dtype="bfloat16")
    assert plan(half, work_of_counts(half, 10, 20), rate=1e9).weight_bytes == 2 * found.sizes.parameters
    assert (unloaded.layers, unloaded.width) == (loaded.layers, loaded.width)


def test_a_model_of_seven_billion_is_counted_without_its_gigabytes(tmp_path: Path, loaded: Model) -> None:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    tower: dict[str, Any] = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
    vision = CLIPVisionConfig(num_attention_heads=16, image_size=336, patch_size=14, **tower)
    config = LlavaConfig(text_config=LlamaConfig(vocab_size=32064), vision_config=vision)
    config.architectures = ["LlavaForConditionalGeneration"]
    config.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    big = load_without_weights(str(tmp_path), dtype="bfloat16")
    found = plan(big, work_of_counts(big, 200_000, 64), rate=1e15)
    assert 7.0e9 < found.sizes.parameters < 7.1e9 and found.weight_bytes == 2 * found.sizes.parameters
    assert found.store_bytes == 200_000 * 32 * 4096 * 2
    # Two operations a parameter and token, and little else: 64 tokens of 6.5 billion in the blocks.
    assert 1 < found.operations / (2 * 6.48e9 * 64 * 200_000) < 1.05


def test_the_store_takes_the_bytes_that_were_planned(
    loaded: Model, unloaded: Model, tiny_pairs: Pairs, tmp_path: Path
) -> None:
    work = work_of_pairs(unloaded, tiny_pairs, batch_size=10)
    found = plan(unloaded, work, rate=1e9)
    capture(Runner(loaded, Limits(prompts=10), store=tmp_path), tiny_pairs)
    shards = sorted(tmp_path.rglob("*.safetensors"))
    numbers = 0
    for path in shards:
        with safe_open(path, framework="pt") as file:
            numbers += file.get_tensor("residuals").nbytes
    assert numbers == found.store_bytes and len(shards) == len(work.batches)
    on_disk = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert found.store_bytes < on_disk and 0.9 < on_disk / found.disk_bytes < 1.1


@pytest.mark.parametrize("arm", ["text", "typographic", "blank"])
def test_tokens_are_those_of_the_batches(arm: str, unloaded: Model, loaded: Model, tiny_pairs: Pairs) -> None:
    pairs = Pairs(tuple(tiny_pairs))
    prompts = [pair.prompts[arm] for pair in pairs]
    real = collate(loaded, prompts, range(len(prompts))).real
    work = work_of_pairs(unloaded, pairs, batch_size=1000)
    batches = dict(zip(pairs.arms, work.batches, strict=True))
    assert sorted(batches[arm]) == sorted(real.sum(1).tolist())
    assert work.pictures == 48 and work.picture_tokens == 48 * 36
    assert work.tokens == sum(len(batch) * max(batch) for batch in work.batches)


@pytest.mark.parametrize("arm", ["text", "typographic"])
def test_operations_are_those_of_a_pass(arm: str, loaded: Model, unloaded: Model, tiny_pairs: Pairs) -> None:
    batch = collate(loaded, [pair.prompts[arm] for pair in tiny_pairs], range(24))
    lengths = (batch.real.shape[1],) * 24
    pictures = 24 if arm == "typographic" else 0
    found = plan(unloaded, Work((lengths,), pictures, 36 * pictures), rate=1e9)
    with FlopCounterMode(display=False) as counter:
        read(loaded, batch, range(12))
    assert 0.85 < found.operations / counter.get_total_flops() < 1.15
    assert found.reading_seconds == found.operations / 0.5e9


def most_held(function: Callable[[], object]) -> int:
    """Bytes that tensors take at the peak, by torch's own account."""
    gc.collect()  # what is freed in between must not be counted off
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        function()
    held = most = 0
    profiler: Any = seen.profiler
    events = [each for each in profiler.kineto_results.events() if each.name() == "[memory]"]
    for each in sorted(events, key=lambda each: each.start_ns()):
        held += each.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize("prompts", [4, 12])
def test_memory_is_within_a_factor_of_one_and_a_half(prompts: int, loaded: Model, unloaded: Model) -> None:
    pairs = held_out_pairs(HeldOut(prompts, prompts, prompts))
    batch = collate(loaded, [pair.prompts["typographic"] for pair in pairs], range(len(pairs)))
    count, length = batch.real.shape
    work = Work(((length,) * count,), count, 36 * count)
    found = plan(unloaded, work, max_new_tokens=1, rate=1e9)
    read(loaded, replace(batch, kept={}), range(12))  # what is seen of the pictures is kept already
    reading = most_held(lambda: read(loaded, batch, range(12)))
    answering = most_held(lambda: prefill(loaded, batch))
    assert 1 / 1.5 < reading / found.pass_bytes < 1.5
    assert 1 / 1.5 < answering / (found.pass_bytes + found.cache_bytes) < 1.5


def test_the_rate_is_that_of_matrix_products() -> None:
    rates = [measured_rate(torch.device("cpu"), torch.float32, width) for width in (256, 512)]
    assert all(1e9 < rate < 1e13 for rate in rates)


def test_a_plan_reads_like_a_table(unloaded: Model) -> None:
    work = work_of_counts(unloaded, 1000, 64, (200, 100))
    lines = {line.name: line for line in as_rows(plan(unloaded, work, rate=1e12))}
    assert lines["parameters"].amount == "1,750,176" and lines["tokens of a picture"].amount == "36"
    assert lines["prompts"].counted.startswith("16 batches, the largest of 6400 tokens")
    assert lines["disk"].amount == "4.87 MB" and lines["time, residual streams"].amount.endswith(" s")


def test_what_cannot_be_planned_is_named(unloaded: Model) -> None:
    with pytest.raises(ModelError, match="prompts is 0 and tokens is 5; give numbers above 0"):
        work_of_counts(unloaded, 0, 5)
    with pytest.raises(ModelError, match="image size '336' is not HEIGHTxWIDTH; write it like 336x336"):
        image_size_of("336")
    with pytest.raises(
        ModelError, match="dtype 'int3' is not a floating-point dtype of torch; write float32"
    ):
        load_without_weights("organism", dtype="int3")
    with pytest.raises(ModelError, match=r"model nowhere/at-all: .*allow the download"):
        load_without_weights("nowhere/at-all")
    assert image_size_of("1024x768") == (1024, 768)
