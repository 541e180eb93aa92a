"""Every public function takes one value where it takes several, reads no text by its letters, and refuses none."""

# ruff: noqa: ARG005 - every case is given the same

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import regap

rg: Any = regap  # what is given wrongly is the point here
pytestmark = pytest.mark.usefixtures("unchecked")
Given = SimpleNamespace
SIZES = {"calibration": 1, "test_harmful": 1, "test_harmless": 1}


@pytest.fixture(scope="module")
def given(tiny: Any, tiny_pairs: Any) -> Given:
    """A model, its pairs, and everything that the functions make of them."""
    states = rg.capture(tiny, tiny_pairs)
    text = states["text"].calibration
    refusal = rg.refusal_direction(text)
    drift = rg.modality_drift(text, states["typographic"].calibration)
    few = tiny_pairs.test.first(1)
    answers = rg.generate(tiny, few, "text", max_new_tokens=2)
    found = {"model": tiny, "pairs": tiny_pairs, "few": few, "states": states, "refusal": refusal}
    return Given(**found, drift=drift, edit=rg.shift(drift, [1]), answers=answers)


def rows(table: pd.DataFrame, column: str) -> list[Any]:
    return sorted(table[column].unique())


ALONE: dict[str, tuple[Callable[[Given], Any], Any]] = {
    "organism_pairs arms": (lambda g: rg.organism_pairs(**SIZES, arms="blank").arms, ("text", "blank")),
    "capture arms": (lambda g: list(rg.capture(g.model, g.few, "text")), ["text"]),
    "capture pairs": (lambda g: len(rg.capture(g.model, list(g.few), "text")["text"]), 2),
    "generate pairs": (lambda g: len(rg.generate(g.model, next(iter(g.few)), "text", max_new_tokens=2)), 1),
    "inputs pairs": (lambda g: len(rg.inputs(g.model, list(g.few), "text")[0]), 2),
    "capture layers": (lambda g: rg.capture(g.model, g.few, "text", layers=2)["text"].layers, (2,)),
    "capture edits": (
        lambda g: rg.capture(g.model, g.few, "text", edits=g.edit)["text"].edits,
        lambda g: (g.edit.identity,),
    ),
    "capture every token": (
        lambda g: rg.capture(g.model, g.few, "text", edits=g.edit, layers=2, position="all")["text"].layers,
        (2,),
    ),
    "generate edits": (
        lambda g: rg.generate(g.model, g.few, "text", g.edit, max_new_tokens=2),
        lambda g: rg.generate(g.model, g.few, "text", [g.edit], max_new_tokens=2),
    ),
    "shift layers": (lambda g: rg.shift(g.drift, 1).site.layers, (1,)),
    "edit layers": (lambda g: rg.edit(lambda h: h, 1).site.layers, (1,)),
    "site layers": (lambda g: rg.Site(1).layers, (1,)),
    "with_arms arms": (lambda g: rg.with_arms(g.few, "noise").arms[-1], "noise"),
    "harmless arms": (lambda g: rg.harmless(count=2, arms="text").arms, ("text",)),
    "judge answers": (lambda g: len(rg.judge(g.answers[0])), 1),
    "separability states": (lambda g: rows(rg.separability(g.states["text"], g.refusal), "arm"), ["text"]),
    "to_frame states": (lambda g: rows(rg.to_frame(g.states["text"]), "arm"), ["text"]),
    "to_frame of arms": (lambda g: rows(rg.to_frame(g.states), "arm"), ["blank", "text", "typographic"]),
    "figure arms": (
        lambda g: len(
            rg.figure("separability", rg.separability(g.states, g.refusal), arms="text", theme="dark").data
        ),
        2,
    ),
    "pairs": (lambda g: len(rg.Pairs(g.few.pairs[0])), 1),
    "pictures": (lambda g: len(rg.Prompt("<image>", picture(g)).pictures), 1),
}


def picture(g: Given) -> Any:
    return g.few.pairs[0].prompts["blank"].picture


@pytest.mark.parametrize("name", ALONE)
def test_one_value_alone_is_one(name: str, given: Given) -> None:
    found, expected = ALONE[name]
    assert found(given) == (expected(given) if callable(expected) else expected)


def test_ablations_and_sweeps_take_one_value(monkeypatch: pytest.MonkeyPatch, given: Given) -> None:
    """What is asked of them, without the run: the random model refuses nothing, so that they cannot measure it."""
    from regap.analyses.ablation import ablate, layer_sweep

    asked: list[Any] = []
    monkeypatch.setattr(ablate, "measure_model", lambda *_: None)
    monkeypatch.setattr(
        ablate, "ablation_record", lambda _, wanted: asked.append(wanted) or Given(table=pd.DataFrame())
    )
    one = {"components": "head", "replacements": "zero", "layers": 0, "heads": 0, "positions": "template"}
    rg.ablate(given.model, given.pairs, **one)
    (wanted,) = asked
    assert (wanted.components, wanted.replacements, wanted.positions) == (("head",), ("zero",), ("template",))
    assert (wanted.layers, wanted.heads) == ((0,), (0,))

    monkeypatch.setattr(layer_sweep, "measure_model", lambda *given: given[-1])
    monkeypatch.setattr(
        layer_sweep, "sweep_record", lambda *given: asked.append(given) or Given(table=pd.DataFrame())
    )
    rg.sweep_layers(given.model, given.pairs, vectors="random", layers=0, strengths=1.0)
    config, vectors, layers = asked[-1]
    assert (vectors, layers, config.strengths) == (("random",), (0,), (1.0,))


REFUSED: dict[str, tuple[Callable[[Given], Any], str]] = {
    "no arm": (lambda g: rg.capture(g.model, g.pairs, []), r"arms is \[\]; give one name"),
    "an arm that is a number": (lambda g: rg.with_arms(g.few, 3), "arms is 3; give one name"),
    "no arm made": (lambda g: rg.with_arms(g.few, []), r"arms is \[\]"),
    "no arm of the organism": (lambda g: rg.organism_pairs(**SIZES, arms=[]), r"arms is \[\]"),
    "no arm of a benchmark": (lambda g: rg.harmless(arms=[]), r"arms is \[\]"),
    "no layer": (
        lambda g: rg.capture(g.model, g.pairs, layers=[]),
        r"layers \[\] must be at least one layer",
    ),
    "a layer twice": (lambda g: rg.capture(g.model, g.pairs, layers=[1, 1]), r"layers \[1, 1\] must be"),
    "a layer in text": (lambda g: rg.capture(g.model, g.pairs, layers="3"), "layers is '3'; give one whole"),
    "half a layer": (lambda g: rg.Site((1.5,)), "layers is 1.5; give one whole number"),
    "true as a layer": (lambda g: rg.Site(True), "layers is True; give one whole number"),
    "layers of a shift in text": (lambda g: rg.shift(g.drift, "1"), "layers is '1'"),
    "no layer read": (
        lambda g: rg.calibrate_regap(g.model, g.pairs, g.refusal, g.drift, 1, read_layers=[]),
        r"read_layers \[\] must be at least one layer",
    ),
    "a text as an edit": (
        lambda g: rg.generate(g.model, g.few, "text", "shift"),
        "edits is 'shift'; give an",
    ),
    "a number as an edit": (lambda g: rg.capture(g.model, g.few, edits=[3]), "edits is 3; give an edit"),
    "two arms for one": (lambda g: rg.generate(g.model, g.few, ["text"]), r"arm is \['text'\]; name one arm"),
    "two arms of inputs": (lambda g: rg.inputs(g.model, g.few, ["text"]), r"arm is \['text'\]; name one"),
    "a mapping as sampling": (
        lambda g: rg.generate(g.model, g.few, "text", sampling={"temperature": 1.0}),
        r"sampling is \{'temperature': 1.0\}; give Sampling",
    ),
    "two strengths": (lambda g: rg.shift(g.drift, 1, strength=[1, 2]), r"strength is \[1, 2\]; give one"),
    "no strength": (
        lambda g: rg.shift(g.drift, 1, strength=float("nan")),
        "strength is nan; give one finite",
    ),
    "no function": (lambda g: rg.edit(3, layers=1), "function is 3; give a function"),
    "no component": (lambda g: rg.ablate(g.model, g.pairs, components=[]), r"components is \[\]"),
    "no replacement": (lambda g: rg.ablate(g.model, g.pairs, replacements=()), r"replacements is \(\)"),
    "no position": (lambda g: rg.ablate(g.model, g.pairs, positions=[]), r"positions is \[\]"),
    "no layer ablated": (lambda g: rg.ablate(g.model, g.pairs, layers=[]), r"layers \[\] must be"),
    "no head": (lambda g: rg.ablate(g.model, g.pairs, components="head", heads=[]), r"heads \[\] must be at"),
    "a head that is not there": (
        lambda g: rg.ablate(g.model, g.pairs, components="head", heads=9, layers=1),
        "head 9 is not in model",
    ),
    "no vector": (lambda g: rg.sweep_layers(g.model, g.pairs, vectors=[]), r"vectors is \[\]"),
    "no layer swept": (lambda g: rg.sweep_layers(g.model, g.pairs, layers=[]), r"layers \[\] must be"),
    "no dose": (lambda g: rg.sweep_layers(g.model, g.pairs, strengths=[]), r"setting strengths is \[\]"),
    "no answer": (lambda g: rg.judge([]), "0 answers"),
    "texts as answers": (lambda g: rg.judge(["no"]), "answers holds 'no'; give the answers that generate"),
    "a list as a judge": (
        lambda g: rg.judge(g.answers, ["auto"]),
        r"judge is \['auto'\]; give a judge's name",
    ),
    "a judge of one argument": (
        lambda g: rg.judge(g.answers, lambda answer: "refused"),
        "give a judge's name",
    ),
    "no states": (lambda g: rg.separability([], g.refusal), r"states is \[\]; give what capture returns"),
    "no states in a frame": (lambda g: rg.to_frame({}), r"states is \{\}; give what capture returns"),
    "no resample": (lambda g: rg.separability(g.states, g.refusal, resamples=0), "resamples is 0; give at"),
    "every arm as one": (
        lambda g: rg.refusal_direction(g.states),
        r"states is of type dict; give the states of",
    ),
    "a drift of all arms": (lambda g: rg.modality_drift(g.states, g.states), "text is of type dict"),
    "no pair": (lambda g: rg.Pairs(()), "there are no pairs"),
    "no first pair": (lambda g: g.pairs.first(0), "count is 0; give at least 1"),
    "no harmless pair": (lambda g: rg.harmless(count=0), "count is 0; give at least 1"),
    "no pair of a benchmark": (lambda g: rg.benchmark("everyday", limit=0), "limit is 0; give at least 1"),
    "a text as turns": (
        lambda g: rg.Prompt("x", turns="abc"),
        "turns is 'abc'; give turns as a list of Turn",
    ),
    "a text as a prompt": (
        lambda g: rg.Pair("a", "harmful", "c", "r", "test", {"text": "hello"}),
        "pair 'a', arm text: 'hello' is not a Prompt",
    ),
    "a text as a limit": (lambda g: rg.Limits(prompts="8"), "prompts is '8'; give a whole number"),
    "less than no memory": (lambda g: rg.Limits(bytes_in_memory=-1), "bytes_in_memory is -1"),
    "columns that are a list": (
        lambda g: rg.read_pairs(pd.DataFrame({"id": [1]}), columns=["id"]),
        r"columns is \['id'\]; give a mapping",
    ),
    "an empty table of pairs": (lambda g: rg.read_pairs(pd.DataFrame()), "table has no rows"),
    "a figure's option": (lambda g: figure(g, foo=1), "foo=1 is not an option of figures"),
    "two layers of a figure": (lambda g: figure(g, layer=[1]), r"layer=\[1\]: figures take one layer"),
    "a layer that no figure has": (lambda g: figure(g, layer=99), "layer=99 was not read"),
}


def figure(g: Given, **options: Any) -> Any:
    return rg.figure("separability", rg.separability(g.states, g.refusal), **options)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_one_line_that_names_it(name: str, given: Given) -> None:
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as refused:
        call(given)
    assert "\n" not in str(refused.value)
