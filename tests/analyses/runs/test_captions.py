"""The caption arm is made by the model from the image, tells the query, and is kept."""

from pathlib import Path
from typing import Any

import pytest

from regap.analyses.runs import pairs as captions
from regap.analyses.runs.pairs import with_captions
from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.geometry.data.rendering import blank, noise
from regap.geometry.forward.runner import Runner
from regap.interventions.generation import Completion


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Prompt]:
    """A model that describes what it is asked; what it was asked is kept."""
    prompts: list[Prompt] = []

    def generate(model: Any, pairs: Pairs, arm: str, conditions: Any, **_: Any) -> dict[str, Any]:
        assert conditions == {"": []}
        prompts.extend(pair.prompts[arm] for pair in pairs)
        answers = tuple(
            Completion(pair.pair_id, arm, f"an <image> of {pair.pair_id}", 3, True, 0) for pair in pairs
        )
        return {"": answers}

    monkeypatch.setattr(captions, "generate_each", generate)
    return prompts


PICTURE = Prompt("<image>\nWhat is this?", (blank((8, 8)),), "be brief")
TWO = Prompt("<image><image>", (blank((8, 8)), noise((8, 8), "a")))


def pairs() -> Pairs:
    return Pairs(
        (
            Pair("a", "harmful", "k", "a", "test", {"text": Prompt("a"), "picture": PICTURE}),
            Pair("b", "harmful", "k", "b", "test", {"text": Prompt("b")}),
            Pair("c", "harmful", "k", "c", "test", {"picture": PICTURE, "caption": Prompt("kept")}),
            Pair("d", "harmful", "k", "d", "test", {"typographic": TWO}),
        )
    )


def test_the_caption_takes_the_place_of_the_image(tiny: Any, asked: list[Prompt]) -> None:
    made = with_captions(tiny, pairs())
    assert made.pairs[0].prompts["caption"] == Prompt(
        "What is this?\nImage description: an image of a", (), "be brief"
    )
    assert made.pairs[3].prompts["caption"].text == "Image description: an image of d"
    assert made.pairs[1:3] == pairs().pairs[1:3]
    assert made.notes == (f"2 caption arms were made by the model {tiny.name}",)


def test_the_query_is_told_so_that_the_caption_tells_what_it_needs(tiny: Any, asked: list[Prompt]) -> None:
    with_captions(tiny, pairs())
    assert "following about this image, without seeing it:\nWhat is this?\nDo not answer" in asked[0].text
    assert asked[0].pictures == PICTURE.pictures and asked[0].system == "be brief"
    assert "about these images, without seeing them:\n(nothing else is said)" in asked[1].text
    assert len(asked[1].pictures) == 2


def test_only_the_named_arm_is_captioned(tiny: Any, asked: list[Prompt]) -> None:
    made = with_captions(tiny, pairs(), "typographic")
    assert ["caption" in pair.prompts for pair in made] == [False, False, True, True]
    assert with_captions(tiny, pairs(), "noise") == pairs()


def test_captions_are_the_models_own_and_kept(tiny: Any, tiny_pairs: Pairs, tmp_path: Path) -> None:
    few = tiny_pairs.test.first(2)
    made = with_captions(Runner(tiny, store=tmp_path), few)
    assert list(tmp_path.iterdir()) and all("caption" in pair.prompts for pair in made)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert with_captions(Runner(tiny, store=tmp_path), few) == made
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
