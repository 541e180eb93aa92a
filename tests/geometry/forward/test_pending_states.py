"""Reading costs what is read: no head, no later layer, no picture seen twice, and the numbers of a full pass."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from regap.errors import ConfigError, ModelError
from regap.geometry.data.pairs import Pairs, Prompt
from regap.geometry.forward import image_features as features
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.forward.image_features import Shelf, seen_inputs, shelf_of
from regap.geometry.forward.pending_states import read
from regap.geometry.forward.prefix import prefill, run, run_last_token
from regap.geometry.models.loading import Model, load
from regap.geometry.prompts.batch import Batch, collate
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.organism.checkpoint import build_model, build_processor

LAYERS = (0, 1, 2, 3)
SHIFT = Shift(Site((1,)), torch.linspace(-1, 1, 32, dtype=torch.float64)[None], 2.0, "planted")
every_arm = pytest.mark.parametrize("arm", ["text", "typographic", "blank"])


@pytest.fixture
def fresh(tiny_architecture: Any) -> Model:
    """A model that has seen no picture yet."""
    return load(build_model(tiny_architecture, seed=0), processor=build_processor(tiny_architecture))


def batch_of(model: Model, pairs: Pairs, arm: str) -> Batch:
    return collate(model, [pair.prompts[arm] for pair in pairs], range(len(pairs)))


class Passes:
    """Counts how often a module runs."""

    def __init__(self, module: Any) -> None:
        self.count = 0
        module.register_forward_pre_hook(self)

    def __call__(self, *called: Any) -> None:  # noqa: ARG002 - a hook is given module and inputs
        self.count += 1


@every_arm
@pytest.mark.parametrize("edits", [[], [SHIFT]])
def test_what_is_read_is_what_a_full_pass_reads(
    arm: str, edits: list[Any], tiny: Model, tiny_pairs: Pairs
) -> None:
    batch = batch_of(tiny, tiny_pairs, arm)
    assert torch.equal(read(tiny, batch, LAYERS, edits), run(tiny, batch, LAYERS, edits).states)
    assert torch.equal(read(tiny, batch, (2, 0, 2), edits), run(tiny, batch, (2, 0, 2), edits).states)


def test_neither_the_head_nor_a_later_layer_is_run(fresh: Model, tiny_pairs: Pairs) -> None:
    batch = batch_of(fresh, tiny_pairs, "text")
    ran: list[int] = []

    def noted(layer: int) -> Hook:
        return Hook(fresh.hook_name(layer), lambda _: ran.append(layer))

    head = Passes(fresh.hf.lm_head)
    with hooked(fresh, [noted(layer) for layer in LAYERS]):
        read(fresh, batch, (1,))
        assert ran == [0, 1] and head.count == 0
    run(fresh, batch, ())
    assert head.count == 1


def test_afterwards_the_model_is_as_it_was(tiny: Model, tiny_pairs: Pairs) -> None:
    batch = batch_of(tiny, tiny_pairs, "typographic")
    before = run(tiny, batch, LAYERS)
    read(tiny, batch, (0,), [SHIFT])
    after = run(tiny, batch, LAYERS)
    assert torch.equal(before.states, after.states) and torch.equal(before.logits, after.logits)


def test_an_error_in_a_hook_is_not_taken_for_the_end(tiny: Model, tiny_pairs: Pairs) -> None:
    def failing(residual: torch.Tensor) -> None:
        raise RuntimeError("in a hook")

    batch = batch_of(tiny, tiny_pairs, "text")
    with pytest.raises(RuntimeError, match="in a hook"), hooked(tiny, [Hook("blocks.0.hook_out", failing)]):
        read(tiny, batch, LAYERS)


def test_a_position_of_several_tokens_is_their_mean(tiny: Model, tiny_pairs: Pairs) -> None:
    batch = batch_of(tiny, tiny_pairs, "typographic")
    kept: list[torch.Tensor] = []
    with hooked(tiny, [Hook(tiny.hook_name(2), lambda residual: kept.append(residual.clone()))]):
        run(tiny, batch, ())
    for position, tokens in (("all", batch.real), ("image", batch.image), ("request", batch.request)):
        found = read(tiny, batch, (2,), position=position)
        expected = torch.stack([row[mask].mean(0) for row, mask in zip(kept[0], tokens, strict=True)])
        assert torch.allclose(found[:, 0], expected, atol=1e-6)
        assert float((found[:, 0] - kept[0][:, -1]).abs().max()) > 0.01
    with pytest.raises(ConfigError, match="position 'middle' is not known; choose one of last, after_inst"):
        read(tiny, batch, (2,), position="middle")
    with pytest.raises(ModelError, match="a prompt has no such token"):
        read(tiny, batch_of(tiny, tiny_pairs, "text"), (2,), position="image")


def test_a_picture_is_seen_once_whatever_is_asked_about_it(fresh: Model, tiny_pairs: Pairs) -> None:
    tower = Passes(fresh.hf.model.vision_tower)
    batch = batch_of(fresh, tiny_pairs, "typographic")
    read(fresh, batch, LAYERS)
    read(fresh, batch, LAYERS, [SHIFT])
    run(fresh, batch_of(fresh, tiny_pairs, "typographic"), LAYERS)
    run_last_token(fresh, prefill(fresh, batch), LAYERS)
    assert tower.count == 1
    read(fresh, batch_of(fresh, tiny_pairs, "blank"), LAYERS)
    assert tower.count == 2


@pytest.mark.parametrize("shown", [(0, 0, 0), (0, 1, 0), (2, 1, 0)])
def test_prompts_that_share_a_picture_share_what_is_seen(
    shown: tuple[int, ...], fresh: Model, tiny_pairs: Pairs
) -> None:
    pictures = [pair.prompts["typographic"].pictures for pair in tiny_pairs.pairs[::5]]
    words = ["please <image>", "tell me how to <image>", "i want to <image> now"]
    prompts = [Prompt(text, pictures[place]) for text, place in zip(words, shown, strict=True)]
    sizes: list[int] = []
    fresh.hf.model.vision_tower.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    batch = collate(fresh, prompts, range(3))
    found = read(fresh, batch, LAYERS)
    assert sizes == [len(set(shown))]
    plainly = read(fresh, replace(batch, pictures=(), kept={}), LAYERS)  # pixels, as Hugging Face takes them
    assert sizes[1:] == [3] and torch.allclose(found, plainly, atol=1e-6)
    other = collate(fresh, [Prompt(words[0], pictures[3])], [0])
    assert float((read(fresh, other, LAYERS) - found[:1]).abs().max()) > 1e-6


def test_what_is_kept_of_pictures_is_bounded(fresh: Model, tiny_pairs: Pairs) -> None:
    shelf = shelf_of(fresh)
    prompts = [pair.prompts["typographic"] for pair in tiny_pairs]
    seen = seen_inputs(fresh, collate(fresh, prompts[:4], range(4)))["mm_encoder_outputs"]["image"]
    one_batch = features._bytes(seen)
    assert one_batch == 4 * 4 * 9 * 32  # float32, pictures, patches, width
    shelf.limit = 2 * one_batch
    for start in (4, 8, 12):
        read(fresh, collate(fresh, prompts[start : start + 4], range(4)), (0,))
        assert sum(map(features._bytes, shelf.kept.values())) <= shelf.limit
    assert len(shelf.kept) == 2 and shelf.computed == 4
    assert shelf_of(fresh) is shelf and isinstance(shelf_of(load_again(fresh)), Shelf)


def load_again(model: Model) -> Model:
    return Model(model.bridge, model.processor, "again", "again")
