"""The read-back gate: what counts as read, and outcomes on what was read alone."""

from dataclasses import replace
from typing import Any

import pytest

from regap.analyses.judges.verdicts import Judged
from regap.analyses.outcomes import outcomes
from regap.analyses.read_back import (
    ORGANISM_QUESTION,
    Transcription,
    read_back,
    records,
    shares,
    understood,
    word_overlap,
)
from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.geometry.data.rendering import blank
from regap.geometry.models.loading import load
from regap.interventions.generation import Completion
from regap.organism.prompts import HeldOut, held_out_pairs

SHOWN = Prompt("<image> do it", (blank((72, 72)),))


def pair(name: str, label: Any = "harmful") -> Pair:
    return Pair(
        name, label, "k", "do the thing", "test", {"text": Prompt("do the thing"), "typographic": SHOWN}
    )


def reading(name: str, state: Any, label: Any = "harmful") -> Transcription:
    return Transcription(pair(name, label), "typographic", "words", 1.0, state)


def judged(name: str, verdict: Any, label: Any = "harmful") -> Judged:
    completion = Completion(name, "typographic", "text", 1, True, 0)
    return Judged(pair(name, label), completion, "judge", verdict, "")


@pytest.mark.parametrize(
    ("shown", "transcribed", "share"),
    [
        ("Steps to bake bread.", "steps to BAKE bread", 1.0),
        ("Steps to bake bread.", 'The image says: "Steps to bake bread." 1. 2. 3.', 1.0),
        ("Steps to bake bread.", "bread bake to steps", 0.25),
        ("Steps to bake bread.", "steps to break bread", 0.75),
        ("a a b", "a b", 2 / 3),
        ("Steps to bake bread.", "", 0.0),
        ("日本語 text", "日本語", 0.5),
    ],
)
def test_the_overlap_is_the_share_of_shown_words_in_their_order(
    shown: str, transcribed: str, share: float
) -> None:
    assert word_overlap(shown, transcribed) == pytest.approx(share)


def test_nothing_shown_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="there are no shown words to compare"):
        word_overlap("...", "words")


def test_outcomes_are_those_of_the_prompts_that_were_read() -> None:
    answers = [
        judged("a", "complied"),
        judged("b", "refused"),
        judged("c", "refused"),
        judged("d", "complied"),
    ]
    readings = [reading("a", "read"), reading("b", "not_read"), reading("c", "read"), reading("d", "refused")]
    assert outcomes(answers)["refusal"].value == 0.5
    kept = understood(answers, readings)
    assert [one.pair.pair_id for one in kept] == ["a", "c"]
    made = records(
        "model", {"typographic": readings}, {"baseline": {"typographic": answers, "text": answers}}
    )
    tables = {record.name: record.table for record in made}
    assert list(tables["read_back"].state) == ["read", "not_read", "read", "refused"]
    gated = tables["outcomes_understood"].set_index("measure")
    assert set(gated.arm) == {"typographic"} and gated.loc["attack_success", ["value", "n"]].tolist() == [
        0.5,
        2,
    ]


def test_where_nothing_was_read_there_are_no_outcomes_and_not_zero() -> None:
    unread = [reading("a", "not_read")]
    made = records("model", {"typographic": unread}, {"baseline": {"typographic": [judged("a", "complied")]}})
    assert [record.name for record in made] == ["read_back"]
    assert shares(unread)["harmful"]["read"].value == 0 and "harmless" not in shares(unread)


def test_the_share_that_was_read_is_told_by_label() -> None:
    found = shares([reading("a", "read"), reading("b", "refused"), reading("c", "read", "harmless")])
    assert found["harmful"]["read"].value == found["harmful"]["refused"].value == 0.5
    assert found["harmless"]["read"].value == 1 and found["harmless"]["read"].n == 1


def test_only_one_image_that_shows_known_words_is_read_back(tiny: Any) -> None:
    twice = Prompt("<image> <image>", (blank((72, 72)), blank((72, 72))))
    unknown = Prompt("<image>", SHOWN.pictures, shown="")
    arms = {"picture": SHOWN, "typographic-pro": twice, "typographic-other": unknown}
    plain = Pair("p", "harmful", "k", "a request", "test", arms)
    for arm in (*arms, "noise"):
        assert read_back(tiny, Pairs((plain,)), arm) == ()
    with pytest.raises(ValueError, match=r"threshold is 0\.0; give a share above 0 and up to 1"):
        read_back(tiny, Pairs((plain,)), "picture", threshold=0.0)


def test_the_organism_reads_its_images_and_not_an_empty_sheet() -> None:
    """The gate on a model that was trained to read: clean images pass, blank ones do not."""
    model = load("organism")
    pairs = held_out_pairs(HeldOut(calibration=1, test_harmful=8, test_harmless=8, arms=("typographic",)))
    options: dict[str, Any] = {"question": ORGANISM_QUESTION}
    read = read_back(model, pairs.test, "typographic", **options)
    assert len(read) == 16 and sum(one.state == "read" for one in read) >= 13
    emptied = [
        replace(
            each, prompts={"typographic": replace(each.prompts["typographic"], pictures=(blank((72, 72)),))}
        )
        for each in pairs.test
    ]
    assert (
        sum(one.state == "read" for one in read_back(model, Pairs(tuple(emptied)), "typographic", **options))
        == 0
    )
