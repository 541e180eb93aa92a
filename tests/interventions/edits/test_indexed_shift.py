"""The k-th token of a role moves by the k-th vector, in every prompt, in one pass or in several."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward import hooks
from regap.geometry.forward.capture import capture
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.indexed_shift import IndexedShift
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.edits.stored import load_edit

IMAGE = 7
IDS = torch.tensor([[0, 0, 1, 7, 2], [0, 1, 7, 7, 2], [7, 7, 7, 4, 2]])
MASK = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
BATCH = Batch({"input_ids": IDS, "attention_mask": MASK}, (0, 1, 2), IMAGE)
VECTORS = torch.tensor([[1.0, 0], [10, 0]])
MOVES = [[0, 0, 0, 1, 0], [0, 0, 1, 10, 0], [1, 10, 10, 0, 0]]
"""How far each token moves: the first image token by 1, the second by 10, and further ones by the last vector."""


@pytest.fixture
def edit() -> IndexedShift:
    return IndexedShift(Site((0,), "image"), VECTORS[None], 2.0, "planted")


def moved(model: Model, edit: IndexedShift, residual: Tensor) -> Tensor:
    return edit._hook(model, BATCH, edit.vectors[0])(residual)  # type: ignore[return-value]


def test_each_token_moves_by_the_vector_of_its_place_and_no_other_does(
    edit: IndexedShift, tiny: Model
) -> None:
    found = moved(tiny, edit, torch.zeros(3, 5, 2))
    assert torch.equal(found[..., 0], -2.0 * torch.tensor(MOVES)) and not bool(found[..., 1].any())


def test_places_are_counted_over_the_whole_prompt(
    edit: IndexedShift, monkeypatch: pytest.MonkeyPatch, tiny: Model
) -> None:
    whole = moved(tiny, edit, torch.zeros(3, 5, 2))
    for first, last in ((0, 2), (2, 4), (3, 5)):
        monkeypatch.setattr(hooks._RUNNING, "first", first)
        assert torch.equal(moved(tiny, edit, torch.zeros(3, last - first, 2)), whole[:, first:last])


def test_equal_vectors_are_one_shift_and_others_are_not(tiny: Model, tiny_pairs: Pairs) -> None:
    vector, few = (
        torch.randn(tiny.width, generator=torch.Generator().manual_seed(0)),
        tiny_pairs.test.first(2),
    )
    site = Site((1,), "image")
    alike = IndexedShift(site, vector.repeat(1, 3, 1), 0.5, "alike")
    other = replace(alike, vectors=alike.vectors * torch.tensor([1.0, 2, 0])[None, :, None])
    states = [
        capture(tiny, few, "typographic", edits=each)["typographic"].residuals
        for each in (Shift(site, vector[None], 0.5, "one"), alike, other)
    ]
    assert torch.allclose(states[0], states[1], atol=1e-5) and not torch.allclose(
        states[0], states[2], atol=1e-2
    )


def test_it_is_stored_and_says_what_does_not_fit(
    edit: IndexedShift, tiny: Model, tiny_pairs: Pairs, tmp_path: Path
) -> None:
    back = load_edit(edit.save(tmp_path))
    assert torch.equal(back.vectors, edit.vectors) and back.identity == edit.identity != edit.at(1.0).identity
    with pytest.raises(ValueError, match="generated tokens have no place in a role; leave phase prefill"):
        replace(edit, site=Site((0,), "image", "every_step"))
    with pytest.raises(ValueError, match="do not fit site"):
        replace(edit, site=Site((0, 1), "image"))
    with pytest.raises(ValueError, match="strength is inf"):
        edit.at(float("inf"))
    with pytest.raises(ModelError, match="are 2 wide, and the residual stream"):
        capture(tiny, tiny_pairs.test.first(1), "typographic", edits=edit)
