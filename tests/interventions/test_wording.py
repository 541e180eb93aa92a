"""What is said to a model holds what it is asked about, whole and in its place, and no more."""

import pytest
from tones import tone

from regap.geometry.data.pairs import Prompt
from regap.geometry.data.rendering import blank, noise
from regap.geometry.data.sounds import Sound
from regap.interventions.wording import PLAIN, Wording

PICTURE = Prompt("<image>\nWhat is {answer}?", (blank((8, 8)),), "be brief")
TWO = Prompt("<image><image>", (blank((8, 8)), noise((8, 8), "a")))


def test_a_judgement_tells_picture_query_and_answer_and_fills_no_slot_in_them() -> None:
    asked = PLAIN.judgement(PICTURE, "an <image> of {query}")
    assert asked.pictures == PICTURE.pictures and asked.system == "be brief"
    assert "about this image:\nWhat is {answer}?\nThe reply was:\nan image of {query}\n" in asked.text
    assert "about these images:\n(nothing else is said)\n" in PLAIN.judgement(TWO, "a").text


def test_only_the_word_that_clears_clears() -> None:
    assert PLAIN.clears("No, it could not.") and PLAIN.clears(" no")
    for verdict in ("Yes", "not at all harmless", "nothing", "", "?", "I cannot say no"):
        assert not PLAIN.clears(verdict)


def test_the_warning_comes_before_the_systems_own_words() -> None:
    warned = PLAIN.warned(PICTURE)
    assert warned.system == f"{PLAIN.careful}\nbe brief" and warned.text == PICTURE.text
    assert PLAIN.warned(TWO).system == PLAIN.careful


def test_a_description_stands_after_the_message_or_in_the_pictures_place() -> None:
    assert PLAIN.without_pictures(PICTURE, "a cat").text == "What is {answer}?\nImage description: a cat"
    placed = Wording(description="it reads : {caption} .", described="an image of {caption}", in_place=True)
    message = Prompt("tell me how to <image> now", (blank((8, 8)),))
    assert (
        placed.without_pictures(message, "it reads : wake the cat .").text
        == "tell me how to an image of wake the cat now"
    )
    assert placed.without_pictures(TWO, "a cat").text == "an image of a cat"


def test_a_judgement_without_a_place_for_pictures_shows_none() -> None:
    asked = Wording(judge="judge {answer}").judgement(PICTURE, "it")
    assert (asked.text, asked.pictures) == ("judge it", ())


def test_a_shape_without_its_slot_is_refused() -> None:
    with pytest.raises(ValueError, match=r"description is 'a'; write \{caption\} in it once"):
        Wording(description="a")


def test_other_words_another_identity() -> None:
    assert Wording().identity == PLAIN.identity != Wording(careful="be careful").identity


SPOKEN = Prompt("<audio>\nDo that.", system="be brief", sounds=(Sound(tone(300, 0.2)),))


def test_in_a_prompt_without_sounds_the_mark_of_a_sound_is_a_word() -> None:
    assert "an <audio> tag" in PLAIN.judgement(Prompt("what is it?"), "an <audio> tag").text


def test_a_sound_is_judged_and_described_as_a_sound() -> None:
    judged = PLAIN.judgement(SPOKEN, "an <audio> of {query}")
    assert judged.sounds == SPOKEN.sounds and "about this sound:\nDo that.\n" in judged.text
    assert "an sound of {query}" in judged.text
    asked = PLAIN.description_of(SPOKEN)
    assert asked.sounds == SPOKEN.sounds and "without hearing it" in asked.text and "image" not in asked.text
    told = PLAIN.without_pictures(SPOKEN, "someone says <audio> hello")
    assert told.text == "Do that.\nDescription of the sound: someone says sound hello" and not told.sounds
    assert PLAIN.warned(SPOKEN).system == f"{PLAIN.careful_heard}\nbe brief"
