"""A drift planted for each place among the tokens is found there, and means speak only for enough prompts."""

from typing import Any

import pytest
import torch

from regap.errors import PairError
from regap.geometry.states.activations import StateRow
from regap.geometry.states.token_states import Token, TokenStates
from regap.geometry.token_drift import drift_by_index, means_by_index


def tokens(states: list[list[float]], role: Any, labels: str = "hb", model: str = "m") -> TokenStates:
    """One coordinate a token; labels: h for harmful."""
    rows = tuple(
        StateRow(f"p{i}", "harmful" if one == "h" else "harmless", "", "calibration", f"p{i}")
        for i, one in enumerate(labels)
    )
    named = tuple(tuple(Token("x", role) for _ in each) for each in states)
    made = tuple(torch.tensor(each)[:, None, None] for each in states)
    return TokenStates(made, named, rows, role, (0,), model)


def test_each_place_has_its_own_drift_and_further_tokens_the_mean() -> None:
    image = tokens([[1.0, 2, 3], [3.0, 4, 5]], "image")
    text = tokens([[0.0, 1], [2.0, 3]], "request")
    paired = drift_by_index(image, text, 0)[:, 0].tolist()
    assert paired == [2 - 1, 3 - 2, 4 - 1.5, 3 - 1.5]  # no request has a third token: the mean stands for it
    assert drift_by_index(image, text, 0, paired=False)[:, 0].tolist() == [0.5, 1.5, 2.5, 1.5]


def test_labels_weigh_the_same_at_each_place() -> None:
    found = means_by_index(tokens([[0.0], [0.0], [6.0]], "image", "hhb"), "image", 0, 1)
    assert found[:, 0].tolist() == [3.0, 3.0]


def test_a_few_long_prompts_do_not_speak_for_all() -> None:
    states = tokens([[0.0], [0.0], [0.0, 90.0], [0.0], [0.0, 60.0]], "request", "hhhbb")
    everything = (15.0 + 15.0) / 2
    assert means_by_index(states, "request", 0, 2)[:, 0].tolist() == [0.0, everything, everything]
    enough = tokens([[0.0], [0.0, 90.0], [0.0], [0.0, 60.0]], "request", "hhbb")
    assert means_by_index(enough, "request", 0, 2)[1, 0].item() == 75.0


def test_states_of_two_models_have_no_drift() -> None:
    with pytest.raises(PairError, match="combine only what was read with the same model"):
        drift_by_index(tokens([[1.0]], "image", "h"), tokens([[1.0]], "request", "h", model="other"), 0)
