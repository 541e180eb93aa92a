"""What a head reads adds up to what it puts out, and its attention is the model's own."""

import pytest
import torch

from regap.errors import ModelError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward import heads_reading as module
from regap.geometry.forward.attention_received import eager_attention
from regap.geometry.forward.heads_reading import HeadsReading, heads_reading, weighted
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch, collate

LAYERS = range(4)


@pytest.fixture
def batch(tiny: Model, tiny_pairs: Pairs) -> Batch:
    prompts = [pair.prompts["typographic"] for pair in tiny_pairs][:5]
    return collate(tiny, prompts, range(5))


def test_heads_of_a_group_share_values() -> None:
    weights = torch.tensor([[[1.0, 0], [0, 1], [0.5, 0.5], [0, 0]]])
    values = torch.tensor([[[[1.0], [2.0]], [[10.0], [20.0]]]])
    assert weighted(weights, values)[0, :, 0].tolist() == [1.0, 2.0, 15.0, 0.0]


def test_parts_read_from_disjoint_tokens_add_up_to_the_output(tiny: Model, batch: Batch) -> None:
    for reading in heads_reading(tiny, batch, LAYERS).values():
        parts = [reading.read_from(where) for where in (batch.image, batch.real & ~batch.image)]
        assert torch.allclose(sum(parts), reading.output, atol=1e-5)  # type: ignore[arg-type]
        assert float(parts[0].norm()) > 1e-2 * float(reading.output.norm())  # the image is read at all
        assert torch.allclose(reading.mass(batch.real), torch.ones(5, reading.weights.shape[1]), atol=1e-5)
        assert not bool(reading.read_from(~batch.real).any())


def test_attention_is_that_of_a_whole_pass(tiny: Model, batch: Batch) -> None:
    found = heads_reading(tiny, batch, LAYERS)
    with eager_attention(tiny), torch.inference_mode():
        whole = tiny.hf(**batch.inputs, output_attentions=True).attentions
    for layer in LAYERS:
        assert torch.allclose(found[layer].weights, whole[layer][:, :, -1], atol=1e-5)
    assert tiny.hf.config.get_text_config()._attn_implementation == "sdpa"


def test_a_block_that_puts_out_something_else_is_said(
    tiny: Model, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads that are scaled after they have read, as gated attention does, do not add up."""
    monkeypatch.setattr(module, "_values", lambda _, cache, layer: 2 * cache.layers[layer].values)
    with pytest.raises(ModelError, match="put out something other than their attention times their values"):
        heads_reading(tiny, batch, [1])


def test_a_model_that_keeps_no_values_is_said(tiny: Model, batch: Batch) -> None:
    with pytest.raises(ModelError, match=r"block 9 of model .* keeps no values of each token"):
        heads_reading(tiny, batch, [9])


def test_the_mass_of_marked_tokens_is_their_share() -> None:
    weights = torch.tensor([[[0.2, 0.3, 0.5]]])
    reading = HeadsReading(weights, torch.ones(1, 1, 3, 2), torch.ones(1, 1, 2))
    assert reading.mass(torch.tensor([[True, False, True]])).item() == pytest.approx(0.7)
