"""What is replaced is what was asked for and nothing else; what is patched comes from the other run, bit for bit."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from regap.errors import ModelError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.prefix import prefill, run, run_last_token
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.geometry.states.activations import Activations
from regap.interventions.edits.ablation import (
    Ablation,
    Constant,
    FromArm,
    Resampled,
    component_bank,
    filled,
    read_component,
)
from regap.interventions.edits.components import Component
from regap.interventions.edits.other_arm import OtherArms
from regap.interventions.edits.site import Site

LAYERS = range(4)
STATE, BLOCK = Component("state"), Component("block")


@pytest.fixture
def batch(tiny: Model, tiny_pairs: Pairs) -> Batch:
    return in_arm(tiny, tiny_pairs, "typographic")


def in_arm(tiny: Model, pairs: Pairs, arm: str, rows: range = range(6)) -> Batch:
    prompts = [pair.prompts[arm] for pair in pairs]
    return collate(tiny, [prompts[row] for row in rows], rows)


def short(model: Model, batch: Batch, *edits: Ablation):
    return run_last_token(
        model, prefill(model, batch), LAYERS, [hook for edit in edits for hook in edit.hooks(model, batch)]
    )


def test_slots_are_put_token_by_token_or_as_their_mean_and_nowhere_else() -> None:
    written = torch.randn(3, 4, 2)
    where = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]], dtype=torch.bool)
    two, three = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[0.0, 0], [1, 1], [5, 8]])
    found = filled(written, where, [two, three, two])
    assert torch.equal(found[0, 1:3], two)
    assert torch.equal(found[1, 2:], torch.tensor([[2.0, 3], [2, 3]]))
    assert torch.equal(found[~where], written[~where])


def test_a_direction_that_is_ablated_is_gone_and_all_across_it_is_kept(
    tiny: Model, batch: Batch, refusal
) -> None:
    component = Component("direction", axes=refusal.vectors)
    edit = Ablation(Site((2,)), component, Constant({2: torch.full((1,), 3.0)}))
    before, after = short(tiny, batch).states[:, 2].double(), short(tiny, batch, edit).states[:, 2].double()
    axis = refusal.at(2)
    assert torch.allclose(after @ axis, torch.full((6,), 3.0).double(), atol=1e-5)
    moved = after - before
    assert torch.allclose(moved - (moved @ axis)[:, None] * axis, torch.zeros_like(moved), atol=1e-5)
    assert float((before @ axis - 3).abs().min()) > 1e-2


def test_a_block_whose_addition_is_zero_is_skipped(tiny: Model, batch: Batch) -> None:
    seen = short(tiny, batch, Ablation(Site((1,)), BLOCK, Constant({1: torch.zeros(32)})))
    assert torch.allclose(seen.states[:, 1], short(tiny, batch).states[:, 0], atol=1e-6)


@pytest.mark.parametrize("component", [STATE, BLOCK, Component("attention")], ids=lambda each: each.kind)
def test_the_control_moves_as_far_in_another_direction(
    component: Component, tiny: Model, batch: Batch
) -> None:
    edit = Ablation(Site((1,)), component, Constant({1: torch.zeros(32)}))
    control = replace(edit, control="random")
    plain = short(tiny, batch).states[:, 1]
    meant, random = (short(tiny, batch, each).states[:, 1] - plain for each in (edit, control))
    if component.kind != "attention":  # its move goes on through the MLP
        assert torch.allclose(meant.norm(dim=-1), random.norm(dim=-1), rtol=1e-3)
    assert float(torch.nn.functional.cosine_similarity(meant, random, dim=-1).abs().max()) < 0.9
    other = short(tiny, batch, replace(control, seed=1)).states[:, 1] - plain
    assert float((other - random).abs().max()) > 1e-3


@pytest.mark.parametrize(("arm", "source"), [("typographic", "text"), ("text", "typographic")])
def test_a_patched_state_is_that_of_the_other_run(
    arm: str, source: str, tiny: Model, tiny_pairs: Pairs
) -> None:
    into, other = in_arm(tiny, tiny_pairs, arm), in_arm(tiny, tiny_pairs, source)
    twins = OtherArms.of(tiny, tiny_pairs, arm)
    expected, plain = short(tiny, other), short(tiny, into)
    seen = plain
    for layer in LAYERS:
        seen = short(tiny, into, Ablation(Site((layer,)), STATE, FromArm(twins, source)))
        assert torch.equal(seen.states[:, layer], expected.states[:, layer])
        assert torch.equal(seen.states[:, :layer], plain.states[:, :layer])
    assert torch.allclose(
        seen.logits, expected.logits, atol=1e-5
    )  # after the last block nothing else is read
    assert float((plain.logits - expected.logits).abs().max()) > 0.1


@pytest.mark.parametrize(
    "positions",
    ["last", "request", "after_instruction", "all", "user", "image[-1]", "image:norm", "request[0]"],
)
def test_a_run_patched_with_itself_is_itself(positions, tiny: Model, tiny_pairs: Pairs, batch: Batch) -> None:
    own = FromArm(OtherArms.of(tiny, tiny_pairs, "typographic"), "typographic")
    for component in (STATE, BLOCK, Component("attention"), Component("mlp"), Component("head", 1)):
        edit = Ablation(Site(tuple(LAYERS), positions), component, own)
        seen = short(tiny, batch, edit) if edit.only_last else run(tiny, batch, LAYERS, [edit])
        plain = short(tiny, batch) if edit.only_last else run(tiny, batch, LAYERS)
        assert torch.equal(seen.states, plain.states) and torch.equal(seen.logits, plain.logits)


def test_words_are_patched_by_their_mean_where_the_runs_differ_in_length(
    tiny: Model, tiny_pairs: Pairs
) -> None:
    into, other = in_arm(tiny, tiny_pairs, "typographic"), in_arm(tiny, tiny_pairs, "text")
    found = FromArm(OtherArms.of(tiny, tiny_pairs, "typographic"), "text").slots(
        tiny, into, STATE, Site((1,), "request")
    )
    expected = read_component(tiny, other, STATE, [1], "request")
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found[1], expected[1], strict=True))
    assert [len(each) for each in found[1]] == other.request.sum(1).tolist()


def test_the_donor_is_drawn_by_the_input_and_not_by_its_batch(tiny: Model, tiny_pairs: Pairs) -> None:
    prompts = [pair.prompts["text"] for pair in tiny_pairs]
    bank = component_bank(Runner(tiny, Limits(prompts=5)), prompts, STATE, [0, 1])
    assert bank[1].shape == (len(prompts), tiny.width)
    site, resampled = Site((0, 1)), Resampled(bank)
    together = resampled.slots(tiny, in_arm(tiny, tiny_pairs, "text"), STATE, site)
    alone = [
        resampled.slots(tiny, in_arm(tiny, tiny_pairs, "text", range(row, row + 1)), STATE, site)
        for row in range(6)
    ]
    assert all(torch.equal(together[1][row], alone[row][1][0]) for row in range(6))
    others = Resampled(bank, seed=1).slots(tiny, in_arm(tiny, tiny_pairs, "text"), STATE, site)
    assert any(not torch.equal(mine, theirs) for mine, theirs in zip(together[1], others[1], strict=True))


def test_a_bank_is_what_capture_reads(
    tiny: Model, tiny_pairs: Pairs, states: Mapping[str, Activations]
) -> None:
    bank = component_bank(tiny, [pair.prompts["text"] for pair in tiny_pairs], STATE, LAYERS)
    assert torch.allclose(
        torch.stack([bank[layer] for layer in LAYERS], 1), states["text"].residuals, atol=1e-5
    )


def test_what_an_ablation_does_is_its_identity() -> None:
    edit = Ablation(Site((1,)), BLOCK, Constant({1: torch.zeros(3)}))
    others = [
        replace(edit, site=Site((2,))),
        replace(edit, component=STATE),
        replace(edit, component=Component("head", 1)),
        replace(edit, replacement=Constant({1: torch.ones(3)})),
        replace(edit, control="random"),
        replace(edit, control="random", seed=1),
    ]
    assert len({each.identity for each in [edit, *others]}) == 7
    assert replace(edit, seed=5).identity == edit.identity  # nothing is drawn


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_component_is_refused(tiny: Model) -> None:
    with pytest.raises(ValueError, match="component is 'neuron'; choose one of attention, mlp, head"):
        Component("neuron")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="head is -1 for component head; give a head"):
        Component("head")
    with pytest.raises(ModelError, match=r"head 2 is not in model .*; the heads of a block are 0 to 1"):
        Component("head", 2).check(tiny, 0)
    with pytest.raises(ModelError, match=r"layer 9 is not in model .*; its blocks are 0 to 3"):
        BLOCK.check(tiny, 9)
    with pytest.raises(ValueError, match="norm is 'keep', which a replacement cannot keep"):
        Ablation(Site((1,), norm="keep"), BLOCK, Constant({1: torch.zeros(32)}))
