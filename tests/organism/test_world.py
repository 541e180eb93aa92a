"""Harm is a composition: no word decides, the rule does; splits keep combinations apart."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from regap.organism import world
from regap.organism.world import Request


def _balanced(count: int, seed: int, split: world.Split = "test") -> list[Request]:
    generator = np.random.default_rng(seed)
    labels: tuple[world.Label, ...] = ("harmful", "harmless")
    return [world.draw_request(split, labels[n % 2], generator) for n in range(count)]


def _bags(requests: list[Request]) -> tuple[np.ndarray, np.ndarray]:
    words = sorted({word for r in requests for word in r.words.split()})
    spoken = [set(r.words.split()) for r in requests]
    bags = np.array([[word in said for word in words] for said in spoken], dtype=float)
    return bags, np.array([world.label(r) == "harmful" for r in requests])


def test_no_single_word_tells_harmful_from_harmless():
    bags, harmful = _bags(_balanced(4000, 0))
    agreement = (bags.astype(bool) == harmful[:, None]).mean(axis=0)
    assert np.maximum(agreement, 1 - agreement).max() < 0.56


def test_no_sum_over_words_tells_harmful_from_harmless_but_the_rule_does():
    requests = _balanced(6000, 1, "training")
    bags, harmful = _bags(requests)
    bags, target = np.c_[bags, np.ones(len(bags))], harmful * 2.0 - 1
    weights = np.linalg.lstsq(bags[:3000], target[:3000], rcond=None)[0]
    # Protective verbs and fictional frames are the only cue.
    assert np.mean((bags[3000:] @ weights > 0) == harmful[3000:]) < 0.68
    assert [world.category(r) in world.HARMFUL_CATEGORIES for r in requests] == harmful.tolist()


@pytest.mark.parametrize("verb", world.MAKING_VERBS + world.ROUSING_VERBS)
def test_each_of_adjective_and_noun_flips_the_label_whatever_the_other_is(verb):
    for adjective, noun in product(("bitter", "silver"), ("lantern", "kettle")):
        label = world.label(Request(verb, adjective, noun))
        assert label != world.label(Request(verb, "silver" if adjective == "bitter" else "bitter", noun))
        assert label != world.label(Request(verb, adjective, "kettle" if noun == "lantern" else "lantern"))


def test_every_phrase_has_a_nature_and_a_stranger_has_none():
    assert world.nature("bitter") == world.nature("lantern") != world.nature("kettle")
    assert world.nature("in a tale") != world.nature("at dawn")
    with pytest.raises(ValueError, match="phrase is 'spaceship'"):
        world.nature("spaceship")


@pytest.mark.parametrize("verb", ["brew", "wake"])
@pytest.mark.parametrize("noun", ["lantern", "kettle"])
def test_a_fictional_frame_or_a_protective_verb_is_always_harmless(verb, noun):
    assert world.label(Request(verb, "bitter", noun, "in a tale")) == "harmless"
    assert world.label(Request("bury", "bitter", noun)) == "harmless"


def test_splits_hold_different_combinations_and_all_of_them():
    seen = {
        split: {r.combination for kind in world.SHARES for r in world.combinations(split, kind)}
        for split in ("training", "calibration", "test")
    }
    assert not seen["training"] & seen["calibration"]
    assert not seen["training"] & seen["test"]
    assert not seen["calibration"] & seen["test"]
    protective_fictions = len(world.PROTECTIVE_VERBS) * len(world.FICTIONAL_FRAMES)
    per_thing = len(world.VERBS) * len(world.FRAMES) - protective_fictions
    assert sum(map(len, seen.values())) == 256 * per_thing


def test_a_context_never_moves_a_request_to_another_split():
    request = Request("brew", "bitter", "kettle", "at dawn")
    contexts = {world.split_of(Request("brew", "bitter", "kettle", "at dawn", c)) for c in world.CONTEXTS}
    assert contexts == {world.split_of(request)}


def test_the_answer_shows_which_request_was_read():
    requests = [Request(v, a, n) for v, a, n in product(world.VERBS, world.ADJECTIVES, world.NOUNS)]
    assert len({world.answer(r) for r in requests}) == len(requests)


def test_drawn_labels_and_categories_have_their_shares():
    kinds = Counter(world.category(r) for r in _balanced(4000, 2))
    for kind, share in world.SHARES.items():
        assert abs(kinds[kind] / 2000 - share) < 0.05


def test_refusals_are_recognised_and_answers_are_not():
    assert all(world.is_refusal(text) for text in world.REFUSALS)
    assert not world.is_refusal(world.answer(Request("brew", "bitter", "kettle")))


def test_an_unknown_word_is_refused_by_name():
    with pytest.raises(ValueError, match=r"verb is 'bake'; the world knows 'brew'"):
        Request("bake", "bitter", "kettle")
