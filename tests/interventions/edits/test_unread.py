"""A head that reads nothing from some tokens puts out what the others give; without any to read, it is itself."""

import pytest
import torch

from regap.errors import ModelError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.prefix import prefill, run_last_token
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.interventions.edits.ablation import Ablation, FromArm, read_component, stretched
from regap.interventions.edits.components import Component
from regap.interventions.edits.other_arm import OtherArms
from regap.interventions.edits.site import Site
from regap.interventions.edits.unread import Unread, readings_of

LAYER, HEAD = 2, Component("head", 1)


def in_arm(tiny: Model, pairs: Pairs, arm: str) -> Batch:
    prompts = [pair.prompts[arm] for pair in pairs]
    return collate(tiny, prompts, range(len(prompts)))


@pytest.fixture
def batch(tiny: Model, tiny_pairs: Pairs) -> Batch:
    return in_arm(tiny, tiny_pairs.test, "typographic")


def test_the_head_is_left_with_what_it_reads_elsewhere(tiny: Model, batch: Batch) -> None:
    slots = Unread("image").slots(tiny, batch, HEAD, Site((LAYER,)))[LAYER]
    reading = readings_of(tiny, batch)[LAYER]
    expected = reading.read_from(batch.real & ~batch.image)[:, 1]
    assert torch.allclose(torch.cat([*slots]), expected, atol=1e-5)
    plain = torch.cat(read_component(tiny, batch, HEAD, [LAYER])[LAYER])
    assert not torch.allclose(torch.cat([*slots]), plain, atol=1e-2)


def test_a_head_without_all_tokens_is_a_head_of_zeros_and_without_none_itself(
    tiny: Model, batch: Batch
) -> None:
    site = Site((LAYER,))
    nothing = torch.cat([*Unread("all").slots(tiny, batch, HEAD, site)[LAYER]])
    assert float(nothing.abs().max()) < 1e-5
    none = torch.cat([*Unread("audio").slots(tiny, batch, HEAD, site)[LAYER]])  # there is no sound
    plain = torch.cat(read_component(tiny, batch, HEAD, [LAYER])[LAYER])
    assert torch.allclose(none, plain, atol=1e-5)


def test_it_changes_the_answer_from_its_block_on(tiny: Model, batch: Batch) -> None:
    edit = Ablation(Site((LAYER,)), HEAD, Unread("image"))
    before, after = (
        run_last_token(
            tiny, prefill(tiny, batch), range(4), [hook for one in edits for hook in one.hooks(tiny, batch)]
        )
        for edits in ([], [edit])
    )
    assert torch.equal(before.states[:, :LAYER], after.states[:, :LAYER])
    assert not torch.allclose(before.states[:, LAYER], after.states[:, LAYER], atol=1e-3)
    assert edit.identity != Ablation(Site((LAYER,)), HEAD, Unread("request")).identity


def test_only_heads_at_the_last_token_read(tiny: Model, batch: Batch) -> None:
    for component, site in ((Component("mlp"), Site((1,))), (HEAD, Site((1,), "request"))):
        with pytest.raises(ModelError, match="choose component head at positions last"):
            Unread("image").slots(tiny, batch, component, site)


@pytest.mark.parametrize(
    ("arm", "source", "at", "read"),
    [
        ("typographic", "text", "image", "request"),
        ("text", "typographic", "request", "image"),
    ],
)
def test_tokens_are_patched_from_those_of_another_role(
    arm: str, source: str, at, read, tiny: Model, tiny_pairs: Pairs
) -> None:
    into, other = (in_arm(tiny, tiny_pairs.test, each) for each in (arm, source))
    patch = FromArm(OtherArms.of(tiny, tiny_pairs.test, arm), source, read)
    site, state = Site((LAYER,), at), Component("state")
    found = patch.slots(tiny, into, state, site)[LAYER]
    expected = read_component(tiny, other, state, [LAYER], read)[LAYER]
    assert [len(each) for each in found] == into.at(at).sum(1).tolist()
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, stretched(theirs, len(mine)))
    assert patch.identity != FromArm(patch.twins, source).identity
    none = FromArm(patch.twins, source, "audio")
    with pytest.raises(ModelError, match="has no token at position audio to patch from"):
        none.slots(tiny, into, state, site)


def test_tokens_are_stretched_in_order() -> None:
    three, six = torch.tensor([[1.0], [2.0], [6.0]]), torch.arange(6.0)[:, None]
    assert torch.equal(stretched(three, 3), three)
    assert stretched(three, 6)[:, 0].tolist() == [1, 1, 2, 2, 6, 6]
    assert stretched(three, 4)[:, 0].tolist() == [1, 2, 2, 6]
    assert stretched(six, 3)[:, 0].tolist() == [0.5, 2.5, 4.5]
    assert stretched(six, 4)[:, 0].tolist() == [0, 1.5, 3, 4.5]
    assert stretched(three, 0).shape == (0, 1)
