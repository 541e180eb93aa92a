"""States of every token: ragged, named, equal to what one prompt alone gives, and never more than memory allows."""

from typing import Any

import pytest
import torch

from regap.errors import PairError
from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import refusal_direction
from regap.geometry.drift import modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.frames import to_frame
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import collate
from regap.geometry.states.token_states import TokenStates


@pytest.fixture(scope="module")
def every(tiny: Model, tiny_pairs: Pairs) -> TokenStates:
    return capture(tiny, tiny_pairs.first(2), "typographic", position="all")["typographic"]


def test_each_prompt_has_its_own_length_and_ends_in_its_last_token(
    every: TokenStates, tiny: Model, tiny_pairs: Pairs
) -> None:
    last = capture(tiny, tiny_pairs.first(2), ["typographic"])["typographic"]
    assert every.rows == last.rows
    for place, (_, tokens, residuals) in enumerate(every):
        assert residuals.shape == (len(tokens), tiny.layers, tiny.width)
        assert torch.allclose(residuals[-1], last.residuals[place], atol=1e-5)


def test_states_of_a_batch_are_those_of_each_prompt_alone(tiny: Model, tiny_pairs: Pairs) -> None:
    few = tiny_pairs.first(2)
    together = capture(tiny, few, "text", position="all")["text"]
    alone = capture(Runner(tiny, Limits(prompts=1)), few, "text", position="all")["text"]
    assert len({len(each) for each in together.residuals}) > 1  # unequal lengths, so that padding is there
    for one, other in zip(together.residuals, alone.residuals, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert together.tokens == alone.tokens


def test_tokens_have_the_roles_of_the_batch(every: TokenStates, tiny: Model, tiny_pairs: Pairs) -> None:
    pair = tiny_pairs.first(2).pairs[0]
    batch = collate(tiny, [pair.prompts["typographic"]], [0])
    roles = [token.role for token in every.tokens[0]]
    masks = {"image": batch.image, "request": batch.request, "template": batch.template}
    for role, mask in masks.items():
        assert [each == role for each in roles] == mask[0].tolist()
    assert {"image", "request", "template"} == set(roles)


def test_more_than_memory_allows_is_refused_before_the_model_is_run(
    tiny: Model, tiny_pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        type(tiny.hf.base_model), "forward", lambda *_, **__: pytest.fail("the model was run")
    )
    with pytest.raises(
        PairError, match=r"arm text: the states of every token of 24 prompts .* capture fewer"
    ):
        capture(Runner(tiny, Limits(bytes_in_memory=1000)), tiny_pairs, "text", position="all")


def test_the_table_has_z_and_delta_of_each_prompt_and_of_each_token(
    every: TokenStates, tiny: Model, tiny_pairs: Pairs
) -> None:
    states: Any = capture(tiny, tiny_pairs, ["text", "typographic"])
    refusal = refusal_direction(states["text"].calibration)
    drift = modality_drift(states["text"].calibration, states["typographic"].calibration)
    table = to_frame(states["typographic"], refusal, drift)
    assert len(table) == 24 * tiny.layers
    z = torch.tensor(
        table.pivot(index="pair_id", columns="layer", values="z").loc[states["text"].pair_ids].values
    )
    assert torch.allclose(z, refusal.coordinates(states["typographic"]))
    delta = table.pivot(index="pair_id", columns="layer", values="delta").loc[states["text"].pair_ids].values
    assert torch.allclose(torch.tensor(delta), drift.strength(states["typographic"]))
    tokens = to_frame(every, refusal, drift)
    assert len(tokens) == sum(map(len, every.tokens)) * tiny.layers
    last = tokens[tokens["last"]].set_index(["pair_id", "layer"])["z"]
    expected = table.set_index(["pair_id", "layer"])["z"]
    assert (last - expected.loc[last.index]).abs().max() < 1e-4
    assert "z" not in to_frame(every)


def test_one_arm_may_be_named_without_a_list(tiny: Model, tiny_pairs: Pairs) -> None:
    assert list(capture(tiny, tiny_pairs, "blank")) == ["blank"]
