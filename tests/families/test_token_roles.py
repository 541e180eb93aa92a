"""On every family, one token of an image is read and edited alone, and the rules choose what a slow search chooses."""

from copy import deepcopy
from math import ceil
from typing import Any

import pytest
import torch
from parity import PROMPTS, Subject, difference, raw_hook, subject
from tiny_models import WITH_IMAGES
from tiny_parts import LAYERS, WIDTH
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.geometry.data.plain_pictures import plain_picture
from regap.geometry.forward.capture import capture
from regap.geometry.forward.carriers import carriers, middle
from regap.geometry.forward.prefix import run
from regap.geometry.prompts.batch import Batch, collate
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
TILED = ("llava_next", "llava_onevision", "internvl", "idefics3", "smolvlm", "mllama", "aya_vision", "gemma4")
"""Families whose processors do not say which pixels an image token stands for."""


@pytest.fixture(scope="module", params=[make.__name__ for make in WITH_IMAGES])
def of(request: pytest.FixtureRequest) -> Subject:
    return subject(request.param, "float32")


def paired(prompts: list[Prompt]) -> Pairs:
    rows = enumerate(prompts)
    return Pairs(tuple(Pair(f"p{row}", "harmful", "any", "words", "test", {"arm": one}) for row, one in rows))


@pytest.mark.parametrize("kind", ["images", "several"])
def test_one_token_of_an_image_is_that_row_of_all_tokens(kind: str, of: Subject) -> None:
    pairs = paired(PROMPTS[kind])
    every = capture(of.model, pairs, "arm", position="all")["arm"]
    fewest = min(sum(token.role == "image" for token in tokens) for _, tokens, _ in every)
    for index in {0, fewest - 1, -1, -fewest}:
        found = capture(of.model, pairs, "arm", position=f"image[{index}]")["arm"].residuals
        for row, (_, tokens, states) in enumerate(every):
            patches = states[[token.role == "image" for token in tokens]]
            assert difference(found[row], patches[index]) < 1e-5
    with pytest.raises(ModelError, match=rf"has no token image\[{fewest}\]: it has {fewest} token"):
        capture(of.model, pairs, "arm", position=f"image[{fewest}]")


@pytest.mark.parametrize("index", [0, -1])
def test_an_edit_at_one_token_changes_that_token_alone(index: int, of: Subject) -> None:
    kind, layer = "several", min({*range(LAYERS)} - of.model.crossing)
    batch, vector = of.batch(kind), torch.linspace(-1, 1, WIDTH)
    edit = Shift(Site((layer,), f"image[{index}]"), vector[None], 40.0, "planted")
    pairs = paired(PROMPTS[kind])
    plain, edited = (
        capture(of.model, pairs, "arm", position="all", layers=[layer], edits=edits)["arm"]
        for edits in ((), edit)
    )
    for (_, tokens, before), (_, _, after) in zip(plain, edited, strict=True):
        places = [place for place, token in enumerate(tokens) if token.role == "image"]
        moved = [place for place in range(len(tokens)) if not torch.equal(before[place], after[place])]
        assert moved == [places[index]]
        assert torch.allclose(after[moved[0], 0], before[moved[0], 0] - 40 * vector, atol=1e-4)
    columns = [row.nonzero()[:, 0].tolist()[index] for row in batch.inputs["input_ids"] == batch.image_token]

    def change(residual: Tensor) -> Tensor:
        new = residual.clone()
        for row, column in enumerate(columns):
            new[row, column] -= 40 * vector
        return new

    with raw_hook(of.blocks[layer], change), torch.inference_mode():
        expected = of.bare(**batch.inputs, use_cache=False).logits[:, -1]
    found = run(of.model, batch, (), [edit]).logits
    assert difference(found, expected) < 1e-5
    assert difference(run(of.model, batch, ()).logits, expected) > 1e-5  # the edit does something


@pytest.mark.parametrize("kind", ["images", "several"])
@pytest.mark.parametrize("rule", ["attention", "norm", "blank"])
def test_the_rules_choose_what_a_slow_search_chooses(rule: Any, kind: str, of: Subject) -> None:
    batch = of.batch(kind)
    found, scores = carriers(of.model, batch, rule), slow_scores(of, kind, rule)
    for row, image in enumerate(batch.image):
        places = image.nonzero()[:, 0].tolist()
        chosen = found[row].nonzero()[:, 0].tolist()
        assert len(chosen) == ceil(len(places) / 2) and set(chosen) <= set(places)
        left = [float(scores[row, place]) for place in places if place not in chosen]
        worst = min(float(scores[row, place]) for place in chosen)
        assert max(left, default=worst) <= worst + 1e-5 * abs(worst)  # equal but for rounding, or lower


def slow_scores(of: Subject, kind: str, rule: str) -> Tensor:
    """The scores of each token by Hugging Face's own model, eager where it returns attention."""
    batch = of.batch(kind)
    if rule != "attention":
        states = seen_at_middle(of, batch)
        if rule == "norm":
            return states.norm(dim=-1)
        plain = [Prompt(each.text, tuple(map(plain_picture, each.pictures))) for each in PROMPTS[kind]]
        return (states - seen_at_middle(of, collate(of.model, plain, range(len(plain))))).norm(dim=-1)
    eager = deepcopy(of.bare)
    eager.set_attn_implementation("eager")
    with torch.inference_mode():
        found = eager(**batch.inputs, use_cache=False, output_attentions=True).attentions
    own = [each for layer, each in enumerate(found) if each is not None and layer not in of.model.crossing]
    assert 0 < len(own) <= LAYERS
    return torch.stack([each[:, :, -1].mean(1) for each in own]).mean(0)


def seen_at_middle(of: Subject, batch: Batch) -> Tensor:
    kept: list[Tensor] = []

    def keep(residual: Tensor) -> Tensor:
        kept.append(residual.clone())
        return residual

    with raw_hook(of.blocks[middle(of.model)], keep), torch.inference_mode():
        of.bare(**batch.inputs, use_cache=False)
    return kept[0]


def test_ink_is_where_the_picture_has_edges_or_the_reason_is_told(of: Subject) -> None:
    batch = of.batch("images")
    if of.family in TILED:
        with pytest.raises(ModelError, match=r"position image:ink is not known .* choose image:blank"):
            carriers(of.model, batch, "ink")
        return
    found = carriers(of.model, batch, "ink")
    assert bool(found.any(1).all()) and not bool((found & ~batch.image).any())
    plain = [Prompt(each.text, tuple(map(plain_picture, each.pictures))) for each in PROMPTS["images"]]
    assert not bool(carriers(of.model, collate(of.model, plain, range(3)), "ink").any())
