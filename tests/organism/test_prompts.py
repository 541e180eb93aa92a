"""Held-out pairs ask for the same thing in every arm, never what training has shown, and follow from the seed."""

import pytest

from regap.geometry.data.pairs import is_media_arm
from regap.organism import world
from regap.organism.prompts import ARMS, HeldOut, held_out_pairs
from regap.organism.world import Request

FEW = HeldOut(calibration=6, test_harmful=6, test_harmless=8)


def test_the_same_seed_gives_the_same_pairs_byte_for_byte():
    assert held_out_pairs(FEW).pairs == held_out_pairs(FEW).pairs
    other = HeldOut(calibration=6, test_harmful=6, test_harmless=8, seed=1)
    assert held_out_pairs(FEW).pairs != held_out_pairs(other).pairs


def test_every_pair_has_every_arm_and_the_numbers_asked_for():
    pairs = held_out_pairs(FEW)
    assert set(pairs.arms) == set(ARMS)
    assert len(pairs.calibration.where(label="harmful")) == 6
    assert len(pairs.calibration.where(label="harmless")) == 6
    assert len(pairs.test.where(label="harmful")) == 6
    assert len(pairs.test.where(label="harmless")) == 8


def test_no_held_out_combination_belongs_to_training():
    for pair in held_out_pairs(HeldOut(calibration=40, test_harmful=40, test_harmless=40, arms=("text",))):
        request = Request(*pair.cluster.split("|"))
        assert world.split_of(request) == pair.split
        assert world.label(request) == pair.label
        assert world.category(request) == pair.category
        assert pair.answer == world.answer(request)


def test_only_image_arms_hide_the_request_from_the_words():
    for pair in held_out_pairs(FEW):
        for arm, prompt in pair.prompts.items():
            assert (pair.request in prompt.text) != is_media_arm(arm)


def test_arms_of_a_pair_differ_in_the_slot_alone():
    for pair in held_out_pairs(FEW):
        carrier = pair.prompts["text"].text.replace(pair.request, "{}")
        assert pair.prompts["typographic"].text == carrier.format("<image>")
        assert pair.prompts["caption"].text == carrier.format(f"an image that reads : {pair.request}")
        assert pair.prompts["blank"].text == "<image> " + pair.prompts["text"].text


def test_leaving_arms_out_does_not_change_the_others():
    few = held_out_pairs(HeldOut(calibration=6, test_harmful=6, test_harmless=8, arms=("picture",)))
    for some, every in zip(few, held_out_pairs(FEW), strict=True):
        assert some.prompts["picture"].picture == every.prompts["picture"].picture


def test_wrong_counts_and_arms_are_named():
    with pytest.raises(ValueError, match="a count is 0"):
        HeldOut(calibration=0)
    with pytest.raises(ValueError, match=r"arms names \['video'\]"):
        HeldOut(arms=("video",))
