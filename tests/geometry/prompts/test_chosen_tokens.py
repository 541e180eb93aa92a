"""The k-th token of a role is counted within each prompt, and a share of tokens is that with the highest scores."""

from math import ceil
from typing import Any

import pytest
import torch

from regap.errors import ModelError
from regap.geometry.data.pairs import Prompt
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.geometry.prompts.chosen_tokens import kth, strongest

IMAGE = 7
IDS = torch.tensor([[0, 0, 1, 7, 2], [0, 1, 7, 7, 2], [3, 7, 4, 7, 7]])
MASK = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
BATCH = Batch({"input_ids": IDS, "attention_mask": MASK}, (4, 2, 9), IMAGE)


@pytest.mark.parametrize("index", [0, 1, 3, 6, -1, -2, -6])
def test_the_kth_token_is_that_of_a_list(index: int) -> None:
    tokens = torch.rand(20, 12, generator=torch.Generator().manual_seed(0)) < 0.5
    for found, marked in zip(kth(tokens, index), tokens, strict=True):
        columns = marked.nonzero()[:, 0].tolist()
        has = -len(columns) <= index < len(columns)
        assert found.nonzero()[:, 0].tolist() == ([columns[index]] if has else [])


@pytest.mark.parametrize(
    ("positions", "columns"),
    [
        ("image[0]", [3, 2, 1]),
        ("image[-1]", [3, 3, 4]),
        ("all[0]", [2, 1, 0]),
        ("all[-1]", [4, 4, 4]),
        ("all[1]", [3, 2, 1]),
    ],
)
def test_padding_and_words_between_images_do_not_count(positions: str, columns: list[int]) -> None:
    found = BATCH.at(positions)
    assert found.sum(1).tolist() == [1, 1, 1]
    assert found.int().argmax(1).tolist() == columns


@pytest.mark.parametrize(
    ("positions", "says"),
    [
        (
            "image[1]",
            r"prompt 4 has no token image\[1\]: it has 1 token of role image; choose another position",
        ),
        ("image[-3]", r"prompt 4 has no token image\[-3\]: it has 1 token of role image"),
        ("all[4]", r"prompt 4 has no token all\[4\]: it has 3 tokens of role all"),
        ("audio[0]", r"prompt 4 has no token audio\[0\]: it has 0 tokens of role audio"),
    ],
)
def test_a_prompt_with_too_few_is_named_with_their_number(positions: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        BATCH.at(positions)


def test_tokens_of_a_rule_take_a_pass() -> None:
    with pytest.raises(ModelError, match="takes a pass of the model; find it with tokens_at"):
        BATCH.at("image:norm")


def test_what_the_user_gave_is_words_and_images(tiny: Model, tiny_pairs: Any) -> None:
    prompts = [pair.prompts["typographic"] for pair in tiny_pairs.test][:3]
    batch = collate(tiny, [*prompts], range(3))
    assert torch.equal(batch.at("user"), batch.at("request") | batch.at("image"))
    assert bool((batch.at("user").sum(1) > batch.at("request").sum(1)).all())
    words = collate(tiny, [Prompt("brew the mint")], [0])
    assert torch.equal(words.at("user"), words.at("request"))
    for index, role in ((0, "request"), (-1, "request"), (1, "user"), (-1, "template")):
        expected = [row.nonzero()[:, 0].tolist()[index] for row in batch.at(role)]
        assert batch.at(f"{role}[{index}]").int().argmax(1).tolist() == expected


@pytest.mark.parametrize("share", [0.5, 0.25, 1.0])
def test_the_strongest_are_the_first_of_a_sorted_list(share: float) -> None:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.rand(30, 11, generator=generator) < 0.6
    scores = torch.randint(0, 6, (30, 11), generator=generator).float()  # many are equal
    for row, found in enumerate(strongest(scores, tokens, share)):
        columns = tokens[row].nonzero()[:, 0].tolist()
        ranked = sorted(columns, key=lambda column: (-float(scores[row, column]), column))
        assert found.nonzero()[:, 0].tolist() == sorted(ranked[: ceil(share * len(columns))])
