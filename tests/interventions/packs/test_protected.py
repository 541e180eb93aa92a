"""A protected model answers as the same edits under raw hooks do, prompt by prompt, however it is made to answer."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.forward.hooks import hooked
from regap.geometry.models.identity import identity_of
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.shift import Shift, fixed_correction
from regap.interventions.edits.site import Site
from regap.interventions.packs.pack import Pack, PackSource
from regap.interventions.packs.protection import protect, protected, unprotect

BUDGET = 6
KINDS = ["fixed", "regap", "elsewhere", "before", "single", "single, rho", "single, no probe"]
GREEDY: dict[str, Any] = {"max_new_tokens": BUDGET, "do_sample": False}


@contextmanager
def raw(model: Any, shifts: list[Shift], end: int) -> Iterator[None]:
    """PyTorch's own hooks: subtract at the end of the prompt, wherever a call without or with a cache has it."""
    with ExitStack() as stack:
        for shift in shifts:
            for layer, vector in zip(shift.site.layers, shift.vectors, strict=True):
                hook = subtraction(vector, shift.strength, end)
                handle = model.model.language_model.layers[layer].register_forward_hook(hook)
                stack.callback(handle.remove)
        yield


def subtraction(vector: Tensor, strength: float, end: int) -> Callable[..., Any]:
    seen = 0

    def change(module: Any, inputs: Any, output: Any) -> Any:
        nonlocal seen
        residual = output if isinstance(output, Tensor) else output[0]
        if residual.shape[1] >= end:
            seen = 0  # the whole sequence again
        moved = residual.clone()
        if seen < end <= seen + residual.shape[1]:
            moved[:, end - 1 - seen] -= strength * vector.to(residual)
        seen += residual.shape[1]
        return moved if isinstance(output, Tensor) else (moved, *output[1:])

    return change


def row(batch: Batch, index: int) -> dict[str, Tensor]:
    """One prompt of the pictured, padding and all."""
    return {name: value[index : index + 1] for name, value in batch.inputs.items()}


def one_by_one(
    model: Any,
    pictured: Batch,
    taken_off: list[list[Shift]],
    run: Callable[[dict[str, Tensor]], Tensor],
) -> list[list[Any]]:
    """What raw hooks give each prompt alone."""
    end, found = pictured.real.shape[1], []
    for index, shifts in enumerate(taken_off):
        with raw(model, shifts, end), torch.no_grad():
            found += run(row(pictured, index)).tolist()
    return found


WAYS: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "beams": {**GREEDY, "num_beams": 3},
    "beams, several answers": {**GREEDY, "num_beams": 3, "num_return_sequences": 2},
    "no cache": {**GREEDY, "use_cache": False},
    "static cache": {**GREEDY, "cache_implementation": "static"},
    "states": {**GREEDY, "output_hidden_states": True, "return_dict_in_generate": True},
}


def tokens(answer: Any) -> Tensor:
    return answer if isinstance(answer, Tensor) else answer.sequences


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_a_batch_is_answered_as_by_raw_hooks_one_by_one(
    way: str, kind: str, model: Any, packs: dict[str, Pack], pictured: Batch, taken_off: Any
) -> None:
    expected = one_by_one(
        model, pictured, taken_off[kind], lambda one: tokens(model.generate(**one, **WAYS[way]))
    )
    bare = tokens(model.generate(**pictured.inputs, **WAYS[way]))
    with protected(model, packs[kind]):
        found = tokens(model.generate(**pictured.inputs, **WAYS[way]))
        again = tokens(model.generate(**pictured.inputs, **WAYS[way]))
    assert found.tolist() == expected == again.tolist()
    assert found.tolist() != bare.tolist()  # the pack does something
    assert torch.equal(tokens(model.generate(**pictured.inputs, **WAYS[way])), bare)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_those_of_raw_hooks_under_the_same_seed(
    kind: str, model: Any, packs: dict[str, Pack], pictured: Batch, taken_off: Any
) -> None:
    options = {"max_new_tokens": BUDGET, "do_sample": True, "num_return_sequences": 3, "top_k": 20}

    def sampled(one: dict[str, Tensor]) -> Tensor:
        torch.manual_seed(1)
        return model.generate(**one, **options)

    expected = one_by_one(model, pictured, taken_off[kind], sampled)
    with protected(model, packs[kind]):
        found = [answer for i in range(len(pictured)) for answer in sampled(row(pictured, i)).tolist()]
    assert found == expected
    assert len({tuple(answer) for answer in found}) > len(pictured)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_prompts_may_come_in_chunks(
    size: int, kind: str, model: Any, packs: dict[str, Pack], words: Batch, pictured: Batch
) -> None:
    for asked in (words, pictured):
        bare = model.generate(**asked.inputs, **GREEDY)
        with protected(model, packs[kind]):
            whole = model.generate(**asked.inputs, **GREEDY)
            assert torch.equal(model.generate(**asked.inputs, **GREEDY, prefill_chunk_size=size), whole)
        assert not torch.equal(whole, bare)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_that_holds_part_of_the_prompt_is_gone_on_from(
    kind: str, model: Any, packs: dict[str, Pack], words: Batch
) -> None:
    ids, mask = words.inputs["input_ids"], words.inputs["attention_mask"]
    with torch.no_grad():
        kept = model(
            input_ids=ids[:, :-3],
            attention_mask=mask[:, :-3],
            position_ids=(mask.cumsum(-1) - 1).clamp_min(0)[:, :-3],
        )
    with protected(model, packs[kind]):
        whole = model.generate(**words.inputs, **GREEDY)
        assert torch.equal(
            model.generate(**words.inputs, **GREEDY, past_key_values=deepcopy(kept.past_key_values)), whole
        )
        rest = model.generate(
            input_ids=ids[:, -3:], attention_mask=mask, **GREEDY, past_key_values=kept.past_key_values
        )
    assert torch.equal(rest[:, 3:], whole[:, ids.shape[1] :])


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_prompts_too(kind: str, model: Any, packs: dict[str, Pack], words: Batch) -> None:
    embeddings = model.get_input_embeddings()(words.inputs["input_ids"]).detach()
    with protected(model, packs[kind]):
        whole = model.generate(**words.inputs, **GREEDY)
        found = model.generate(
            inputs_embeds=embeddings, attention_mask=words.inputs["attention_mask"], **GREEDY
        )
    assert torch.equal(found, whole[:, words.real.shape[1] :])


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_without_a_past_is_a_prompt_and_one_with_a_past_is_not(
    kind: str, model: Any, packs: dict[str, Pack], pictured: Batch, taken_off: Any
) -> None:
    end = pictured.real.shape[1]
    with torch.no_grad():
        bare = model(**pictured.inputs)
        with protected(model, packs[kind]):
            found = model(**pictured.inputs)
            following = model(
                input_ids=pictured.inputs["input_ids"][:, -1:], past_key_values=found.past_key_values
            )
        for index, shifts in enumerate(taken_off[kind]):
            with raw(model, shifts, end):
                expected = model(**row(pictured, index))
            # a batch and one row differ by the order of sums in float32
            torch.testing.assert_close(found.logits[index], expected.logits[0], rtol=1e-5, atol=3e-5)
            alone = model(
                input_ids=pictured.inputs["input_ids"][index : index + 1, -1:],
                past_key_values=expected.past_key_values,
            )
            torch.testing.assert_close(following.logits[index], alone.logits[0], rtol=1e-5, atol=3e-5)
        assert torch.equal(
            found.logits[:, : end - 1], bare.logits[:, : end - 1]
        )  # before the end, bit for bit
        assert not torch.equal(found.logits[:, -1], bare.logits[:, -1])
        assert torch.equal(model(**pictured.inputs).logits, bare.logits)


@pytest.mark.parametrize("phase", ["prefill", "every_step"])
@pytest.mark.parametrize("positions", ["last", "all", "image"])
def test_other_sites_are_those_of_the_bridge(
    positions: Any,
    phase: Any,
    model: Any,
    tiny: Model,
    drift: Drift,
    refusal: Direction,
    pictured: Batch,
    source: PackSource,
) -> None:
    edit = fixed_correction(drift, Site((0, 2), positions, phase), 0.7)
    pack = Pack.of("tiny", identity_of(model), edit, source)
    with hooked(tiny, edit.hooks(tiny, pictured)):
        expected = tiny.hf.generate(**pictured.inputs, **GREEDY)
    with protected(model, pack):
        assert torch.equal(model.generate(**pictured.inputs, **GREEDY), expected)
        assert torch.equal(model.generate(**pictured.inputs, **GREEDY, use_cache=False), expected)
        if positions == "image":
            in_parts = model.generate(**pictured.inputs, **GREEDY, prefill_chunk_size=3)
            assert torch.equal(in_parts, expected)


def test_tokens_of_images_are_found_in_every_beam(model: Any, drift: Drift, pictured: Batch) -> None:
    edit = fixed_correction(drift, Site((0,), "image"), 0.7)
    beams: dict[str, Any] = {**GREEDY, "num_beams": 2, "num_return_sequences": 2}
    where = pictured.image.repeat_interleave(2, 0)[..., None]

    def by_hand(block: Any, inputs: Any, output: Tensor) -> Tensor:
        asked = output.shape[1] == where.shape[1]
        return torch.where(where, output - 0.7 * edit.vectors[0].to(output), output) if asked else output

    handle = model.model.language_model.layers[0].register_forward_hook(by_hand)
    expected = model.generate(**pictured.inputs, **beams)
    handle.remove()
    bare = model.generate(**pictured.inputs, **beams)
    with edit.on(model):
        found = model.generate(**pictured.inputs, **beams)
    assert torch.equal(found, expected) and not torch.equal(found, bare)


def test_tokens_of_an_image_cannot_be_found_among_embeddings(
    model: Any, drift: Drift, pictured: Batch
) -> None:
    embedded = model.get_input_embeddings()(pictured.inputs["input_ids"])
    edit = fixed_correction(drift, Site((0,), "image"))
    with (
        edit.on(model),
        pytest.raises(ModelError, match="cannot be told among embeddings or in a KV cache"),
    ):
        model(inputs_embeds=embedded, attention_mask=pictured.inputs["attention_mask"])


class Collected:
    """A streamer that keeps what it is given, and fails when it is told to."""

    def __init__(self, fails_at: int | None = None):
        self.given: list[int] = []
        self.fails_at = fails_at

    def put(self, value: Tensor) -> None:
        if len(self.given) == self.fails_at:
            raise RuntimeError("nobody listens")
        self.given.append(int(value.flatten()[-1]))

    def end(self) -> None:
        pass


@pytest.mark.parametrize("kind", ["regap", "single"])
def test_answers_stream_from_threads_that_do_not_disturb_each_other(
    kind: str, model: Any, packs: dict[str, Pack], pictured: Batch
) -> None:
    streamers = [Collected() for _ in range(len(pictured))]
    with protected(model, packs[kind]):
        expected = [
            model.generate(**row(pictured, i), **GREEDY)[0, -BUDGET:].tolist() for i in range(len(pictured))
        ]
        threads = [
            Thread(target=model.generate, kwargs={**row(pictured, i), **GREEDY, "streamer": streamer})
            for i, streamer in enumerate(streamers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [streamer.given[1:] for streamer in streamers] == expected  # the prompt comes first


@pytest.mark.parametrize("kind", KINDS)
def test_after_an_exception_nothing_is_left(
    kind: str, model: Any, packs: dict[str, Pack], pictured: Batch
) -> None:
    with torch.no_grad():
        before = model(**pictured.inputs).logits
    one = row(pictured, 0)
    with pytest.raises(RuntimeError, match="nobody listens"), protected(model, packs[kind]):
        expected = model.generate(**one, **GREEDY)
        with pytest.raises(RuntimeError, match="nobody listens"):
            model.generate(**one, **GREEDY, streamer=Collected(fails_at=2))
        assert torch.equal(model.generate(**one, **GREEDY), expected)
        model.generate(**one, **GREEDY, streamer=Collected(fails_at=3))
    with torch.no_grad():
        assert torch.equal(model(**pictured.inputs).logits, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_pass_leaves_no_hook(
    kind: str, model: Any, packs: dict[str, Pack], pictured: Batch
) -> None:
    def fails(*args: Any) -> None:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"), protected(model, packs[kind]):
        handle = model.model.language_model.layers[3].register_forward_hook(fails)
        try:
            model.generate(**pictured.inputs, **GREEDY)
        finally:
            handle.remove()


def test_protection_lasts_until_it_is_taken_off(model: Any, packs: dict[str, Pack], pictured: Batch) -> None:
    bare = model.generate(**pictured.inputs, **GREEDY)
    with protected(model, packs["fixed"]):
        expected = model.generate(**pictured.inputs, **GREEDY)
    assert protect(model, packs["fixed"]) is model
    try:
        with pytest.raises(ModelError, match="the model is protected by a fixed pack already"):
            protect(model, packs["regap"])
        with pytest.raises(ModelError, match="pack already"), protected(model, packs["fixed"]):
            pass
        assert torch.equal(model.generate(**pictured.inputs, **GREEDY), expected)
        with pytest.raises(ModelError, match="a copy would call the original"):
            deepcopy(model)
    finally:
        assert unprotect(model) is model
    assert torch.equal(model.generate(**pictured.inputs, **GREEDY), bare)
    with pytest.raises(ModelError, match="the model is neither protected nor edited"):
        unprotect(model)
