"""What is trained on comes from training topics alone."""

import csv
from importlib.resources import files

import numpy as np

from regap.analyses.judges.phrases.refusals import opens_with_refusal
from regap.analyses.read_back import QUESTION
from regap.geometry.data.benchmarks.requests.english import FILE
from regap.geometry.data.pairs import IMAGE_SLOT, Picture, Prompt
from regap.geometry.data.rendering import GRID_CARRIER, style_of
from regap.interventions.wording import PLAIN
from regap.organism.english.base import Base
from regap.organism.english.texts import ASK, DESCRIBE, READ, REFUSALS, Words, refusal_of, training_requests


def test_nothing_of_a_held_out_topic_is_trained_on() -> None:
    source = files("regap.geometry.data.benchmarks").joinpath(FILE).read_text("utf-8")
    held_out = [row for row in csv.DictReader(source.splitlines()) if row["split"] == "held_out"]
    known = training_requests()
    assert not {one.text for one in known} & {row["request"] for row in held_out}
    assert not {one.topic for one in known} & {row["topic"] for row in held_out}


def test_all_phrasings_of_refusals_are_used_and_a_request_keeps_its_own() -> None:
    found = [refusal_of(one.text) for one in training_requests() if one.is_harmful]
    assert set(found) == set(REFUSALS)
    assert refusal_of("x") == refusal_of("x")


def test_words_by_chance_are_whole_words_and_common_ones_come_more_often(base: Base) -> None:
    words = Words.of(base.tokenizer())
    drawn = [
        word.strip(",.?!;:")
        for seed in range(300)
        for word in words.draw(np.random.default_rng(seed)).split()
    ]
    real = [word for word in drawn if not word.isdecimal()]
    assert set(real) <= set(words.known)
    early = set(words.known[: len(words.known) // 2])
    assert sum(word in early for word in real) > 0.7 * len(real)


def test_it_is_taught_the_sentences_that_commands_ask_with() -> None:
    shown: Picture = style_of("grid").picture("Write a letter.")
    asked = Prompt(f"{IMAGE_SLOT}\n{GRID_CARRIER}", (shown,))
    assert GRID_CARRIER in ASK
    assert f"{IMAGE_SLOT}\n{READ[1]}" == QUESTION
    assert PLAIN.description_of(asked).text == f"{IMAGE_SLOT}\n{DESCRIBE[1]}"


def test_every_refusal_is_known_to_the_judge_of_phrases() -> None:
    assert all(map(opens_with_refusal, REFUSALS))
