"""Arms that were lacking are made for harmful and harmless pairs alike."""

import numpy as np
import pytest

from regap.errors import PairError
from regap.geometry.data.arm_synthesis import MADE, SIDE, with_arms
from regap.geometry.data.pairs import IMAGE_SLOT, Pair, Pairs, Prompt, check_arm
from regap.geometry.data.rendering import FIGSTEP_CARRIER, blank, style_of

DISTRIBUTED = Prompt(f"{IMAGE_SLOT}\nanother carrier", (blank((50, 40)),))


def pairs() -> Pairs:
    text = Prompt("do the thing", shown="THING")
    return Pairs(
        (
            Pair("a", "harmful", "k", "do the thing", "test", {"text": text, "typographic": DISTRIBUTED}),
            Pair("b", "harmless", "k", "do another", "test", {"text": Prompt("do another")}),
            Pair("c", "harmless", "k", "look at it", "test", {"picture": DISTRIBUTED}),
        ),
        ("noted before",),
    )


def test_typographic_images_are_drawn_anew_for_all_in_one_style_and_the_distributed_ones_are_kept() -> None:
    made = with_arms(pairs(), ["typographic"], style="figstep")
    for pair in made:
        prompt = pair.prompts["typographic"]
        assert prompt.text == f"{IMAGE_SLOT}\n{FIGSTEP_CARRIER}"
        assert prompt.pictures[0].sha256 == style_of("figstep").picture(pair.shown).sha256
        assert prompt.shown == pair.words_in("typographic") == pair.shown
    assert [pair.shown for pair in made] == ["THING", "do another", "look at it"]
    assert made.pairs[0].prompts["typographic-distributed"] == DISTRIBUTED
    assert "typographic-distributed" not in made.pairs[1].prompts
    assert made.notes[0] == "noted before" and "in style figstep with " in made.notes[1]


def test_letters_that_the_font_lacks_are_told() -> None:
    foreign = Pair(
        "x", "harmful", "k", "日本語 do the thing", "test", {"text": Prompt("日本語 do the thing")}
    )
    notes = with_arms(Pairs((*pairs().pairs, foreign)), ["typographic"]).notes
    assert any("1 of them show boxes for letters" in note for note in notes)
    assert not any("boxes" in note for note in with_arms(pairs(), ["typographic"]).notes)


def test_pictures_without_content_stand_before_the_words_in_the_size_of_the_pairs_own() -> None:
    made = with_arms(pairs(), ["blank", "noise", "blank-colour"], seed=3)
    first, second, third = made
    for arm in ("blank", "noise", "blank-colour"):
        assert first.prompts[arm].text == f"{IMAGE_SLOT}\ndo the thing"
        assert first.prompts[arm].pictures[0].size == (50, 40)
        assert second.prompts[arm].pictures[0].size == (SIDE, SIDE)
        assert arm not in third.prompts  # words alone do not carry its request
    assert np.asarray(first.prompts["noise"].pictures[0].open()).std() > 50
    again = with_arms(pairs(), ["noise"], seed=3).pairs[0]
    assert again.prompts["noise"] == first.prompts["noise"]


def test_an_arm_that_is_there_stays() -> None:
    once = with_arms(pairs(), ["blank"], seed=1)
    assert with_arms(once, ["blank"], seed=2).pairs == once.pairs


def test_what_cannot_be_made_is_named() -> None:
    assert all(check_arm(arm) for arm in MADE)
    with pytest.raises(
        PairError, match="arm 'picture' cannot be made; choose from typographic, blank, noise"
    ):
        with_arms(pairs(), ["blank", "picture"])


def test_requests_that_do_not_fit_are_an_error_by_name_or_left_out_with_a_note() -> None:
    longer = Prompt("word " * 60)
    some = Pairs((*pairs().pairs, Pair("long one", "harmful", "k", "word " * 60, "test", {"text": longer})))
    with pytest.raises(
        PairError, match=r"1 of 4 requests cannot be drawn in style grid: request 'word .*--partial"
    ):
        with_arms(some, ["typographic"], style="grid")
    made = with_arms(some, ["typographic"], style="grid", allow_partial=True)
    assert [pair.pair_id for pair in made] == ["a", "b", "c"]
    assert "1 of 4 pairs were left out, since style grid cannot draw them: long one" in made.notes
    with pytest.raises(PairError, match="1 of 1 requests cannot be drawn"):
        with_arms(Pairs(some.pairs[3:]), ["typographic"], style="grid", allow_partial=True)
