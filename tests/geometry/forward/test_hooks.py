"""The bridge is Hugging Face's model; an edit does what it says, where it says, and leaves no trace."""

from collections.abc import Callable
from copy import deepcopy
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.batches import batch_rows, batches
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.forward.prefix import prefill, run, run_last_token
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch, collate, describe, render
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Positions, Site

LAYERS = (0, 1, 2, 3)
ARMS = ("text", "typographic", "blank")
VECTOR = torch.linspace(-1, 1, 32, dtype=torch.float64)
every_arm = pytest.mark.parametrize("arm", ARMS)
every_position = pytest.mark.parametrize("positions", ["last", "image", "all"])


def batch_of(model: Model, pairs: Pairs, arm: str, count: int = 24) -> Batch:
    prompts = [pair.prompts[arm] for pair in pairs][:count]
    batch = collate(model, prompts, range(len(prompts)))
    assert not bool(batch.real.all()) or count == 1  # some prompt is padded
    return batch


def shift(layer: int, positions: Positions, strength: float = 2.0) -> Shift:
    return Shift(Site((layer,), positions), VECTOR[None], strength, "planted")


def streams(model: Model, batch: Batch, hooks: list[Hook] | None = None) -> list[Tensor]:
    """All of every residual stream under the hooks."""
    kept: list[Tensor] = []
    readers = [
        Hook(model.hook_name(layer), lambda residual: kept.append(residual.clone())) for layer in LAYERS
    ]
    with torch.inference_mode(), hooked(model, [*(hooks or []), *readers]):
        model.hf(**batch.inputs, use_cache=False)
    return kept


def plain_streams(
    plain: Any, batch: Batch, layer: int, change: Callable[[Tensor], Tensor]
) -> tuple[list, Tensor]:
    """The same by PyTorch's own hooks on the model as Hugging Face built it."""

    def edit(module: Any, inputs: Any, output: Any) -> Any:
        return change(output) if isinstance(output, Tensor) else (change(output[0]), *output[1:])

    def keep(module: Any, inputs: Any, output: Any) -> None:
        kept.append(output if isinstance(output, Tensor) else output[0])

    kept: list[Tensor] = []
    blocks = plain.model.language_model.layers
    handles = [blocks[layer].register_forward_hook(edit)]
    handles += [block.register_forward_hook(keep) for block in blocks]
    try:
        with torch.inference_mode():
            logits = plain(**batch.inputs, use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()
    return kept, logits[:, -1]


def logits_of(model: Model, batch: Batch) -> Tensor:
    return run(model, batch, ()).logits


@every_arm
def test_the_bridge_equals_plain_hugging_face(arm: str, tiny: Model, plain: Any, tiny_pairs: Pairs) -> None:
    batch = batch_of(tiny, tiny_pairs, arm)
    seen = run(tiny, batch, LAYERS)
    with torch.inference_mode():
        expected = plain(**batch.inputs, use_cache=False, output_hidden_states=True)
    for layer in LAYERS[:-1]:
        assert torch.allclose(seen.states[:, layer], expected.hidden_states[layer + 1][:, -1], atol=1e-6)
    assert torch.allclose(seen.logits, expected.logits[:, -1], atol=1e-5)
    # Hugging Face's last hidden state comes after the final norm: it is no residual stream.
    assert not torch.allclose(seen.states[:, 3], expected.hidden_states[4][:, -1], atol=1e-2)


@every_arm
def test_a_padded_batch_equals_its_members_one_by_one(arm: str, tiny: Model, tiny_pairs: Pairs) -> None:
    prompts = [pair.prompts[arm] for pair in tiny_pairs]
    together = run(tiny, batch_of(tiny, tiny_pairs, arm), LAYERS)
    for row, prompt in enumerate(prompts):
        alone = run(tiny, collate(tiny, [prompt], [0]), LAYERS)
        assert torch.allclose(together.states[row], alone.states[0], atol=1e-5)
        assert torch.allclose(together.logits[row], alone.logits[0], atol=1e-4)
    assert float((together.states[0] - together.states[1:]).abs().amax((1, 2)).min()) > 1e-3  # prompts differ


@every_arm
def test_one_token_passes_equal_full_passes(arm: str, tiny: Model, tiny_pairs: Pairs) -> None:
    batch = batch_of(tiny, tiny_pairs, arm)
    edit = shift(1, "last")
    plainly, edited = run(tiny, batch, LAYERS), run(tiny, batch, LAYERS, [edit])
    prefix = prefill(tiny, batch)
    assert prefill(tiny, batch) is prefix
    for _ in range(2):  # what one pass adds to the keys and values is gone before the next
        for expected, hooks in ((plainly, []), (edited, edit.hooks(tiny, batch))):
            seen = run_last_token(tiny, prefix, LAYERS, hooks)
            assert torch.allclose(seen.states, expected.states, atol=1e-5)
            assert torch.allclose(seen.logits, expected.logits, atol=1e-4)
    assert float((edited.logits - plainly.logits).abs().max()) > 0.1


@every_position
@pytest.mark.parametrize("layer", [0, 2, 3])
def test_an_edit_moves_its_site_by_the_vector_and_nothing_else(
    layer: int, positions: Positions, tiny: Model, tiny_pairs: Pairs
) -> None:
    batch = batch_of(tiny, tiny_pairs, "typographic")
    before = streams(tiny, batch)
    after = streams(tiny, batch, shift(layer, positions).hooks(tiny, batch))
    for earlier in range(layer):
        assert torch.equal(before[earlier], after[earlier])
    where = {"last": torch.zeros_like(batch.real), "image": batch.image, "all": batch.real}[positions]
    if positions == "last":
        where[:, -1] = True
    assert bool(where.any()) and not bool(where.all())
    assert torch.equal(before[layer][~where], after[layer][~where])
    assert torch.allclose(after[layer][where], before[layer][where] - 2 * VECTOR.float(), atol=1e-6)
    if layer < 3:  # positions before the first edited one never see it
        first = int(where.int().argmax(1).min())
        assert torch.equal(before[3][:, :first], after[3][:, :first])
        assert float((before[3][:, -1] - after[3][:, -1]).abs().max()) > 1e-2


@every_position
@pytest.mark.parametrize("layer", [0, 2])
def test_an_edit_equals_the_same_edit_by_a_raw_hook(
    layer: int, positions: Positions, tiny: Model, plain: Any, tiny_pairs: Pairs
) -> None:
    batch = batch_of(tiny, tiny_pairs, "typographic")

    def change(residual: Tensor) -> Tensor:
        moved = residual.clone()
        if positions == "last":
            moved[:, -1] -= 2 * VECTOR.float()
        else:
            moved[batch.image if positions == "image" else batch.real] -= 2 * VECTOR.float()
        return moved

    expected, logits = plain_streams(plain, batch, layer, change)
    seen = run(tiny, batch, LAYERS, [shift(layer, positions)])
    assert torch.allclose(seen.states, torch.stack([each[:, -1] for each in expected], 1), atol=1e-5)
    assert torch.allclose(seen.logits, logits, atol=1e-4)
    _, unedited = plain_streams(plain, batch, layer, lambda residual: residual)
    assert float((logits - unedited).abs().max()) > 0.05


def test_an_edit_does_not_write_to_its_input(tiny: Model, tiny_pairs: Pairs) -> None:
    batch = batch_of(tiny, tiny_pairs, "text")
    (hook,) = shift(1, "all").hooks(tiny, batch)
    residual = torch.randn(len(batch), batch.real.shape[1], 32, generator=torch.Generator().manual_seed(0))
    before = residual.clone()
    after = hook.function(residual)
    assert torch.equal(residual, before) and after is not None and not torch.equal(after, before)


def test_afterwards_the_model_is_as_it_was(tiny: Model, tiny_pairs: Pairs) -> None:
    batch = batch_of(tiny, tiny_pairs, "text")
    before = logits_of(tiny, batch)
    hooks = shift(1, "all").hooks(tiny, batch)
    with hooked(tiny, hooks):
        assert not torch.equal(logits_of(tiny, batch), before)
    assert torch.equal(logits_of(tiny, batch), before)
    with hooked(tiny, hooks):
        pass
    assert torch.equal(logits_of(tiny, batch), before)


def test_after_an_exception_the_model_is_as_it_was(tiny: Model, tiny_pairs: Pairs) -> None:
    batch = batch_of(tiny, tiny_pairs, "text")
    before = logits_of(tiny, batch)
    with pytest.raises(RuntimeError, match="inside"), hooked(tiny, shift(1, "all").hooks(tiny, batch)):
        raise RuntimeError("inside")
    assert torch.equal(logits_of(tiny, batch), before)

    def failing(residual: Tensor) -> Tensor:
        raise RuntimeError("in a hook")

    with pytest.raises(RuntimeError, match="in a hook"), hooked(tiny, [Hook("blocks.2.hook_out", failing)]):
        logits_of(tiny, batch)
    assert torch.equal(logits_of(tiny, batch), before)


def test_after_an_exception_in_a_one_token_pass_the_next_is_right(tiny: Model, tiny_pairs: Pairs) -> None:
    batch = batch_of(tiny, tiny_pairs, "typographic")
    before = run_last_token(tiny, prefill(tiny, batch), LAYERS)

    def failing(residual: Tensor) -> Tensor:
        raise RuntimeError("in a hook")

    with pytest.raises(RuntimeError, match="in a hook"):  # some layers have kept the token, some have not
        run_last_token(tiny, prefill(tiny, batch), LAYERS, [Hook("blocks.1.hook_out", failing)])
    assert torch.equal(run_last_token(tiny, prefill(tiny, batch), LAYERS).states, before.states)


def test_a_hook_that_another_thread_has_half_placed_disturbs_no_pass(
    plain: Any, tiny_pairs: Pairs, tiny: Model
) -> None:
    """PyTorch enters a hook, and then that it takes keywords; a pass of another thread may come in between."""
    model, batch = Model.of_plain(plain), collate(tiny, [next(iter(tiny_pairs)).prompts["text"]], [0])
    with torch.no_grad():
        expected = plain(**batch.inputs).logits
    found: list[Any] = []

    def other_thread() -> None:
        with torch.no_grad():
            found.append(plain(**batch.inputs).logits)

    with hooked(model, [Hook("blocks.1.hook_in", torch.zeros_like)]):
        for module in (model.decoder, model.blocks[1]):
            assert module._forward_pre_hooks_with_kwargs
            module._forward_pre_hooks_with_kwargs.clear()
        thread = Thread(target=other_thread)
        thread.start()
        thread.join()
    assert len(found) == 1 and torch.equal(found[0], expected)


def test_a_name_that_is_no_hook_is_refused_before_the_model_is_touched(
    tiny: Model, tiny_pairs: Pairs
) -> None:
    batch = batch_of(tiny, tiny_pairs, "text")
    before = logits_of(tiny, batch)
    hooks = [*shift(1, "all").hooks(tiny, batch), Hook("blocks.1.hook_ouut", lambda residual: residual * 0)]
    with (
        pytest.raises(ModelError, match=r"hook 'blocks.1.hook_ouut' is not in model .*nearest are blocks\.1"),
        hooked(tiny, hooks),
    ):
        raise AssertionError("entered")
    assert torch.equal(logits_of(tiny, batch), before)


def test_what_is_read_of_a_pass_is_a_copy_of_the_last_token_alone(tiny: Model, tiny_pairs: Pairs) -> None:
    seen = run(tiny, batch_of(tiny, tiny_pairs, "typographic"), (2, 2, 0))
    assert seen.states.shape == (24, 3, 32)
    assert torch.equal(seen.states[:, 0], seen.states[:, 1])
    assert seen.states.untyped_storage().nbytes() == 4 * seen.states.numel()


@every_arm
def test_the_beginning_is_marked_once(arm: str, tiny: Model, tiny_pairs: Pairs) -> None:
    batch = batch_of(tiny, tiny_pairs, arm)
    begin = tiny.tokenizer.bos_token_id
    assert (batch.inputs["input_ids"] == begin).sum(1).tolist() == [1] * len(batch)
    first = batch.real.int().argmax(1)
    assert bool((batch.inputs["input_ids"][torch.arange(len(batch)), first] == begin).all())


def test_a_tokenizer_that_adds_the_beginning_itself_does_not_double_it(
    tiny: Model, tiny_pairs: Pairs
) -> None:
    from tokenizers.processors import TemplateProcessing

    processor = deepcopy(tiny.processor)
    begin = processor.tokenizer.bos_token
    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, processor.tokenizer.bos_token_id)]
    )
    assert processor.tokenizer("sure")["input_ids"][0] == processor.tokenizer.bos_token_id
    model = Model(tiny.bridge, processor, "adds", "adds")
    batch = batch_of(model, tiny_pairs, "text")
    assert torch.equal(batch.inputs["input_ids"], batch_of(tiny, tiny_pairs, "text").inputs["input_ids"])
    processor.chat_template = processor.chat_template.replace("{{ bos_token }}", "")
    batch = batch_of(model, tiny_pairs, "text")  # a template that leaves it to the tokenizer
    assert (batch.inputs["input_ids"] == processor.tokenizer.bos_token_id).sum(1).tolist() == [1] * len(batch)


def test_padding_on_the_right_is_refused(tiny: Model) -> None:
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    with pytest.raises(
        ModelError, match=r"pads on the right; set processor\.tokenizer\.padding_side = 'left'"
    ):
        Batch({"input_ids": mask, "attention_mask": mask}, (0, 1))


def test_image_positions_are_those_of_the_patches(
    tiny: Model, tiny_pairs: Pairs, tiny_architecture: Any
) -> None:
    batch = batch_of(tiny, tiny_pairs, "typographic")
    assert batch.image.sum(1).tolist() == [tiny_architecture.image_tokens] * len(batch)
    assert not bool(batch_of(tiny, tiny_pairs, "text").image.any())
    assert not bool((batch.image & ~batch.real).any())


def test_batches_hold_every_prompt_once_longest_first_words_and_pictures_apart(
    tiny: Model, tiny_pairs: Pairs
) -> None:
    prompts = [prompt for pair in tiny_pairs for prompt in pair.prompts.values()]
    groups = batch_rows(tiny, prompts, 7)
    assert sorted(row for group in groups for row in group) == list(range(len(prompts)))
    assert all(len(group) <= 7 for group in groups)
    assert all(len({prompts[row].picture is None for row in group}) == 1 for group in groups)
    lengths = [
        int(batch.real.sum(1).max()) for batch in batches(tiny, [p.prompts["text"] for p in tiny_pairs], 5)
    ]
    assert lengths == sorted(lengths, reverse=True)
    with pytest.raises(ModelError, match="batch size is 0; give at least 1"):
        list(batches(tiny, prompts, 0))


def test_words_and_pictures_in_one_batch_are_what_they_are_alone(tiny: Model, tiny_pairs: Pairs) -> None:
    prompts = [tiny_pairs.pairs[0].prompts[arm] for arm in ("text", "typographic")]
    seen = run(tiny, collate(tiny, prompts, [0, 1]), LAYERS)
    for row, prompt in enumerate(prompts):
        alone = run(tiny, collate(tiny, [prompt], [0]), LAYERS)
        assert torch.allclose(seen.states[row], alone.states[0], atol=1e-5)


def test_a_prompt_can_be_shown_to_a_person(tiny: Model, tiny_pairs: Pairs) -> None:
    prompt = tiny_pairs.pairs[0].prompts["typographic"]
    shown = describe(tiny, prompt)
    assert shown.startswith(render(tiny, prompt)) and "'assistant:':" in shown.replace("##", "")
