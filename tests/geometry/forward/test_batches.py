"""Batches are as large as asked, and smaller by themselves when the memory runs out."""

import threading
import warnings
from typing import Any

import pytest
import torch

from regap.errors import ModelError
from regap.geometry.data.pairs import Pairs, Prompt
from regap.geometry.forward.batches import BatchSplitter, batch_rows, prefetch, run_batches
from regap.geometry.forward.capture import capture
from regap.geometry.forward.pending_states import start_capture
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.geometry.prompts.lengths import image_tokens, prompt_lengths
from regap.interventions.generation import generate

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


def prompts_of(pairs: Pairs, arm: str) -> list[Prompt]:
    return [pair.prompts[arm] for pair in pairs]


@pytest.mark.parametrize("arm", ["text", "typographic"])
def test_lengths_are_those_of_the_batch(arm: str, tiny: Model, tiny_pairs: Pairs) -> None:
    prompts = prompts_of(tiny_pairs, arm)
    expected = collate(tiny, prompts, range(len(prompts))).real.sum(1).tolist()
    assert prompt_lengths(tiny, prompts) == expected and len(set(expected)) > 1


def test_a_processor_that_does_not_count_is_no_error() -> None:
    assert image_tokens(object(), [(3, 4), (5, 6)]) == [1, 1]


@pytest.mark.parametrize("tokens", [1, 40, 100, 10_000])
def test_no_batch_holds_more_tokens_than_asked(tokens: int, tiny: Model, tiny_pairs: Pairs) -> None:
    prompts = prompts_of(tiny_pairs, "typographic")
    groups = batch_rows(tiny, prompts, 64, tokens)
    assert sorted(row for group in groups for row in group) == list(range(24))
    padded = [collate(tiny, [prompts[row] for row in group], group).real.numel() for group in groups]
    assert all(size <= tokens or len(group) == 1 for size, group in zip(padded, groups, strict=True))
    assert len(groups) == (24 if tokens == 1 else 1) or tokens in (40, 100)
    with pytest.raises(ModelError, match="batch_tokens is 0; give at least 1"):
        batch_rows(tiny, prompts, 64, 0)


class Narrow:
    """Lets passes of a few prompts through, and fails on larger ones as a device without memory does."""

    def __init__(self, error: Exception, room: int) -> None:
        self.error, self.room, self.sizes = error, room, []

    def __call__(self, model: Model, batch: Batch, *arguments: Any) -> Any:
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return start_capture(model, batch, *arguments)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_a_batch_that_does_not_fit_is_halved_and_said_once(
    error: Exception, tiny: Model, tiny_pairs: Pairs, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = capture(tiny, tiny_pairs, ["text"])["text"].residuals
    narrow = Narrow(error, room=3)
    monkeypatch.setattr("regap.geometry.forward.capture.start_capture", narrow)
    with pytest.warns(
        UserWarning, match=r"out of memory with 12 prompts at once: .*lower batch_tokens"
    ) as said:
        found = capture(Runner(tiny, Limits(prompts=12), store=tmp_path), tiny_pairs, ["text"])[
            "text"
        ].residuals
    assert len(said) == 1 and torch.allclose(found, expected, atol=1e-5)
    assert narrow.sizes == [12, 6, 3, 3, 3, 3, 3, 3, 3, 3]  # the second batch is not tried whole again


def test_a_run_that_goes_on_makes_batches_as_small_as_before(
    tiny: Model, tiny_pairs: Pairs, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regap.geometry.forward.capture.start_capture", Narrow(MemoryError(), room=3))
    with pytest.warns(UserWarning, match="out of memory"):
        capture(Runner(tiny, Limits(prompts=12), store=tmp_path), tiny_pairs, ["text"])
    shards = sorted((tmp_path / "text").glob("*.safetensors"))
    data = {path: path.read_bytes() for path in shards}
    for path in shards:  # whichever batch is missing, it is made as it was
        path.unlink()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            capture(Runner(tiny, Limits(prompts=12), store=tmp_path), tiny_pairs, ["text"])
        assert path.read_bytes() == data[path]


def test_one_prompt_that_does_not_fit_is_an_error_with_a_remedy(
    tiny: Model, tiny_pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regap.geometry.forward.capture.start_capture", Narrow(MemoryError(), room=0))
    with (
        pytest.warns(UserWarning, match="out of memory"),
        pytest.raises(ModelError, match=r"out of memory on one prompt of \d+ tokens; use a device with more"),
    ):
        capture(Runner(tiny, Limits(prompts=4)), tiny_pairs, ["text"])


def test_another_error_is_not_taken_for_a_lack_of_memory(tiny: Model, tiny_pairs: Pairs) -> None:
    def failing(batch: Batch) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run_batches(tiny, prompts_of(tiny_pairs, "text"), 64, 1000, failing)


def test_answers_are_the_same_in_smaller_batches(
    tiny: Model, tiny_pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = generate(tiny, tiny_pairs, "typographic", max_new_tokens=4)
    from regap.interventions import generation

    whole = generation.prefill

    def narrow(model: Model, batch: Batch) -> Any:
        if len(batch) > 12:
            raise MemoryError
        return whole(model, batch)

    monkeypatch.setattr(generation, "prefill", narrow)
    with pytest.warns(UserWarning, match="out of memory with 24 prompts"):
        assert generate(tiny, tiny_pairs, "typographic", max_new_tokens=4) == expected


def test_parts_hold_every_row_once(tiny: Model, tiny_pairs: Pairs) -> None:
    prompts = prompts_of(tiny_pairs, "text")
    for parts in (1, 2, 4, 16, 64):
        rows = [batch.rows for batch in BatchSplitter(tiny, parts).collate(prompts, list(range(5, 15)))]
        assert [row for group in rows for row in group] == list(range(5, 15)) and len(rows) <= parts


def test_work_is_done_ahead_in_order_and_in_the_background() -> None:
    made, thread = [], set()

    def make(number: int) -> int:
        made.append(number)
        thread.add(threading.current_thread().name)
        return number * number

    squares = prefetch(make, range(1, 9), depth=2)
    assert next(squares) == 1
    assert list(squares) == [4, 9, 16, 25, 36, 49, 64] and made == list(range(1, 9))
    assert threading.current_thread().name not in thread and len(thread) == 1


def test_no_more_is_done_ahead_than_asked_and_an_error_comes_in_its_turn() -> None:
    made = []

    def make(number: int) -> int:
        made.append(number)
        if number == 3:
            raise OSError("no picture")
        return number

    numbers = prefetch(make, range(1, 100), depth=2)
    assert next(numbers) == 1 and next(numbers) == 2
    with pytest.raises(OSError, match="no picture"):
        next(numbers)
    assert len(made) <= 5
