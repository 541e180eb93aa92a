"""The image tokens that carry the request are found by unedited passes, once a batch, and leave the model as it was."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from regap.errors import ModelError
from regap.geometry.data.pairs import Pairs, Prompt
from regap.geometry.data.plain_pictures import with_plain_pictures
from regap.geometry.forward import carriers as module
from regap.geometry.forward.attention_received import aligned, attention_received, eager_attention
from regap.geometry.forward.capture import capture
from regap.geometry.forward.carriers import carriers, middle, tokens_at
from regap.geometry.forward.pending_states import read
from regap.geometry.forward.prefix import run
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site

SCORED = ("attention", "norm", "blank")


@pytest.fixture
def batch(tiny: Model, tiny_pairs: Pairs) -> Batch:
    prompts = [pair.prompts["typographic"] for pair in tiny_pairs.test][:4]
    return collate(tiny, prompts, range(4))


@pytest.fixture
def passes(tiny: Model) -> Iterator[list[None]]:
    """One entry for each pass of the decoder."""
    ran: list[None] = []
    handle = tiny.decoder.register_forward_pre_hook(lambda *_: ran.append(None))
    yield ran
    handle.remove()


@pytest.mark.parametrize("rule", ["attention", "norm", "blank", "ink"])
def test_they_are_image_tokens_and_found_once_a_batch(
    rule: Any, tiny: Model, batch: Batch, passes: list[None]
) -> None:
    found = carriers(tiny, batch, rule)
    ran = len(passes)
    assert bool(found.any(1).all()) and not bool((found & ~batch.image).any())
    if rule in SCORED:
        assert found.sum(1).tolist() == [-(-int(count) // 2) for count in batch.image.sum(1)]
    assert carriers(tiny, batch, rule) is found and len(passes) == ran
    assert torch.equal(tokens_at(tiny, batch, f"image:{rule}"), found)


@pytest.mark.parametrize("rule", ["attention", "norm", "blank", "ink"])
def test_a_prompt_without_an_image_has_none(rule: Any, tiny: Model) -> None:
    words = collate(tiny, [Prompt("brew the mint"), Prompt("and now")], range(2))
    assert not bool(carriers(tiny, words, rule).any())
    edit = Shift(Site((1,), f"image:{rule}"), torch.ones(1, tiny.width), 2.0, "planted")
    assert torch.equal(run(tiny, words, (), [edit]).logits, run(tiny, words, ()).logits)
    with pytest.raises(ModelError, match="a prompt has no such token"):
        read(tiny, words, (1,), position=f"image:{rule}")


def test_attention_is_that_of_a_full_pass_and_the_model_is_left_as_it_was(tiny: Model, batch: Batch) -> None:
    before, config = run(tiny, batch, ()).logits, tiny.hf.config.get_text_config()
    implementation = config._attn_implementation
    found = attention_received(tiny, batch)
    assert config._attn_implementation == implementation != "eager"
    assert torch.equal(run(tiny, batch, ()).logits, before)
    with eager_attention(tiny), torch.inference_mode():
        full = tiny.hf(**batch.inputs, use_cache=False, output_attentions=True).attentions
    expected = torch.stack([each[:, :, -1].mean(1) for each in full]).mean(0)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(found.sum(1), torch.ones(4), atol=1e-4)
    assert not bool(found[~batch.real].any())


def test_eager_attention_ends_with_an_error_too(tiny: Model) -> None:
    before = tiny.hf.config.get_text_config()._attn_implementation
    with pytest.raises(RuntimeError, match="on the way"), eager_attention(tiny):
        raise RuntimeError("on the way")
    assert tiny.hf.config.get_text_config()._attn_implementation == before


def test_a_model_without_weights_is_refused(
    tiny: Model, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regap.geometry.forward import attention_received as received

    monkeypatch.setattr(received, "WEIGHTS_RETURNED", "sdpa")
    with pytest.raises(
        ModelError, match=r"no block of model .* returns weights; choose image:blank or image:norm"
    ):
        carriers(tiny, batch, "attention")


def test_a_sliding_window_has_the_last_columns() -> None:
    weights = torch.tensor([[0.25, 0.75]])
    assert aligned(weights, 4).tolist() == [[0, 0, 0.25, 0.75]]
    assert torch.equal(aligned(weights, 2), weights)


def test_a_plain_picture_is_at_no_distance_from_itself(tiny: Model, tiny_pairs: Pairs) -> None:
    prompts = [pair.prompts["typographic"] for pair in tiny_pairs.test][:2]
    plain = collate(tiny, [with_plain_pictures(each) for each in prompts], range(2))
    assert float(module._distances(tiny, plain)[plain.image].max()) == 0
    shown = collate(tiny, prompts, range(2))
    assert float(module._distances(tiny, shown)[shown.image].min()) > 0


def test_a_batch_without_its_prompts_has_no_plain_pictures(tiny: Model, batch: Batch) -> None:
    by_hand = Batch(batch.inputs, batch.rows, batch.image_token)
    with pytest.raises(ModelError, match=r"made without its prompts; make it with collate\(\)"):
        carriers(tiny, by_hand, "blank")


def test_capture_reads_their_mean_also_under_an_edit(tiny: Model, tiny_pairs: Pairs) -> None:
    pairs = Pairs(tuple(tiny_pairs.test)[:3])
    edit = Shift(Site((0,), "image:norm"), torch.ones(1, tiny.width), 3.0, "planted")
    layer = middle(tiny)
    plain, edited = (
        capture(tiny, pairs, "typographic", position="image:norm", edits=edits)["typographic"]
        for edits in ((), edit)
    )
    every = capture(tiny, pairs, "typographic", position="all")["typographic"]
    for row, (_, tokens, states) in enumerate(every):
        patches = states[[token.role == "image" for token in tokens]]
        longest = patches[:, layer].norm(dim=-1).argsort(descending=True)[: -(-len(patches) // 2)]
        assert torch.allclose(plain.residuals[row], patches[longest].mean(0), atol=1e-5)
    moved = edited.residuals[:, 0] - plain.residuals[:, 0]  # the same tokens: they are found without the edit
    assert torch.allclose(moved, torch.full_like(moved, -3.0), atol=1e-4)
