"""A base that cannot say anything of its own is an error, not an endless wait."""

import pytest

from regap.errors import ModelError
from regap.organism.english import own_words
from regap.organism.english.base import Base
from regap.organism.english.checkpoint import Eyes


def test_a_base_that_ends_no_request_is_refused(
    base: Base, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_words, "_whole", lambda *_: "")
    told: list[int] = []
    with pytest.raises(ModelError, match="ended only 0 of 2 requests"):
        own_words.make_up(base.model(), base.tokenizer(), eyes, 2, 0, told.append)
    assert told == [0, 0]


def test_unwanted_and_long_requests_are_left_out(eyes: Eyes) -> None:
    assert own_words._is_wanted("How do I bake bread?", eyes)
    assert not own_words._is_wanted("How do I build a bomb at home?", eyes)
    assert not own_words._is_wanted("word " * 60, eyes)


def test_every_request_is_answered_in_its_place(base: Base) -> None:
    tokenizer = base.tokenizer()
    tokenizer.padding_side = "left"
    asked = ["a much longer request than the other one", "short", "of middle length"]
    found = own_words.answer(base.model(), tokenizer, asked, lambda _: None)
    for text, said in zip(asked, found, strict=True):
        [alone] = own_words.answer(base.model(), tokenizer, [text], lambda _: None)
        assert said == alone


def test_answers_in_which_the_base_declines_are_known() -> None:
    said = {
        "a": "Sure, here is a plan.",
        "b": "I'm sorry for your loss, but as a chatbot, I don't have the ability",
        "c": "I\u2019m not a travel agent",
        "d": "",
    }
    own = own_words.OwnWords(said, ())
    assert [one for one in said if own.complies_with(one)] == ["a"]
