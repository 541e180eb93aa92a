"""What the model reads is the template around our words, all of them, and each token is known by whose it is."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from regap.errors import ModelError, PairError
from regap.geometry.data.pairs import Pairs, Prompt, Turn
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch, collate, prompt_digest
from regap.geometry.prompts.chat import render, spans

QUIET = "you are quiet"


@pytest.fixture
def speaking(tiny: Model) -> Any:
    """Makes the tiny model with another template around the words."""

    def make(template: str) -> Model:
        processor = deepcopy(tiny.processor)
        processor.chat_template = template
        return Model(tiny.bridge, processor, "speaking", "speaking")

    return make


EACH = (
    "{% for message in messages %}{{ message['role'] + ': ' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image> ' }}{% else %}{{ part['text'] FILTER}}{% endif %}"
    "{% endfor %}{{ ' . ' }}{% endfor %}{{ 'assistant:' }}"
)
PLAIN, TRIMMED, SHOUTED = (EACH.replace("FILTER", each) for each in ("", "| trim", "| upper"))


def test_a_system_message_is_part_of_the_prompt(speaking: Any) -> None:
    model = speaking(PLAIN)
    prompt = Prompt("brew the mint", system=QUIET)
    assert render(model, prompt) == f"system: {QUIET} . user: brew the mint . assistant:"
    assert [(span.start, span.end, span.role) for span in spans(model, prompt)] == [
        (8, 21, "system"),
        (30, 43, "user"),
    ]
    batch = collate(model, [prompt], [0])
    marks = "T___TT___TT"  # system: you are quiet . user: brew the mint . assistant:
    assert batch.template[0].tolist() == [mark == "T" for mark in marks]
    assert int(batch.request.sum()) == 3


def test_a_template_that_refuses_a_system_message_is_named(speaking: Any) -> None:
    model = speaking(
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        + PLAIN
    )
    with pytest.raises(ModelError) as caught:
        render(model, Prompt("brew the mint", system=QUIET))
    assert str(caught.value) == (
        "model speaking: its chat template refuses the prompt (System role not supported); "
        "ask without a system message"
    )


def test_a_template_that_drops_words_in_silence_is_refused(speaking: Any) -> None:
    model = speaking("{% set messages = messages[-1:] %}" + PLAIN)
    assert "brew the mint" in render(model, Prompt("brew the mint"))
    with pytest.raises(ModelError, match=f"its chat template leaves out '{QUIET}'; ask without a system"):
        render(model, Prompt("brew the mint", system=QUIET))


def test_spaces_that_a_template_cuts_off_do_not_matter(speaking: Any, tiny_pairs: Pairs) -> None:
    picture = tiny_pairs.pairs[0].prompts["typographic"].picture
    assert picture is not None
    prompt = Prompt(" first <image> then this ", (picture,))
    for template in (PLAIN, TRIMMED):
        model = speaking(template)
        rendered = render(model, prompt)
        assert [rendered[span.start : span.end].strip() for span in spans(model, prompt)] == [
            "first",
            "then this",
        ]


def test_words_that_stand_in_the_template_too_are_told_apart(speaking: Any) -> None:
    model = speaking(PLAIN)
    prompt = Prompt("assistant: .")
    (span,) = spans(model, prompt)
    assert (span.start, span.end) == (6, 18)
    batch = collate(model, [prompt], [0])
    assert batch.request[0].tolist() == [False, True, True, False, False]
    assert batch.after_instruction[0].tolist() == [False, False, False, True, True]


def test_a_template_that_changes_words_has_no_request_to_name(speaking: Any) -> None:
    with pytest.raises(ModelError, match="its chat template leaves out 'brew'"):
        render(speaking(SHOUTED), Prompt("brew"))
    odd = "{% if 'mint' in messages[0]['content'][0]['text'] %}{{ 'tea ' }}{% endif %}" + PLAIN
    with pytest.raises(
        ModelError,
        match=r"changes 'brew the mint', so its tokens cannot be found; use position last, image or audio",
    ):
        collate(speaking(odd), [Prompt("brew the mint")], [0]).at("request")


def test_positions_that_a_template_leaves_empty_are_an_error(speaking: Any) -> None:
    model = speaking("{{ messages[0]['content'][0]['text'] }}")
    batch = collate(model, [Prompt("brew the mint")], [4])
    assert batch.at("request").all()
    for positions in ("after_instruction", "template"):
        with pytest.raises(
            ModelError, match=f"prompt 4 has no token at position {positions} with this chat template"
        ):
            batch.at(positions)
    assert not bool(batch.at("image").any())  # a prompt without an image is no error


def test_a_tokenizer_that_tells_no_characters_says_so(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = collate(tiny, [Prompt("brew the mint")], [0])
    monkeypatch.setattr(type(tiny.tokenizer), "is_fast", False)
    with pytest.raises(ModelError, match="does not say which characters its tokens stand for"):
        batch.at("request")
    assert bool(batch.at("all").all())


def test_a_batch_made_by_hand_has_no_words() -> None:
    ids = torch.tensor([[1, 2]])
    with pytest.raises(ModelError, match=r"made without its prompts; make it with collate\(\)"):
        Batch({"input_ids": ids, "attention_mask": ids}, (0,)).at("request")


def test_no_prompt_is_ever_cut(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    long = Prompt("brew the mint " * 100)
    with pytest.raises(PairError) as caught:
        collate(tiny, [Prompt("brew"), long], [3, 7])
    assert str(caught.value) == (
        f"prompt 7 ({long.text[:60]!r}) is 303 tokens long, and model LlavaForConditionalGeneration reads at most "
        "256; shorten it, or leave the pair out"
    )
    monkeypatch.setattr(
        tiny.tokenizer, "model_max_length", 4
    )  # what a tokenizer was told must not cut either
    tiny.tokenizer.backend_tokenizer.enable_truncation(4)
    assert int(collate(tiny, [Prompt("brew the mint in the yard")], [0]).real.sum()) == 9


TURNS = (Turn("user", "grow the basil"), Turn("assistant", "done"))


def test_earlier_turns_are_part_of_the_prompt_and_no_part_of_the_request(speaking: Any) -> None:
    model = speaking(PLAIN)
    prompt = Prompt("brew the mint", system=QUIET, turns=TURNS)
    assert render(model, prompt) == (
        f"system: {QUIET} . user: grow the basil . assistant: done . user: brew the mint . assistant:"
    )
    assert [span.role for span in spans(model, prompt)] == ["system", "earlier", "earlier", "user"]
    batch = collate(model, [prompt], [0])
    masks = batch.request, batch.earlier, batch.template
    assert [int(mask.sum()) for mask in masks] == [3, 4, 9]
    assert not bool((batch.request & batch.earlier).any())
    assert prompt_digest(render(model, prompt), prompt) != prompt_digest(
        render(model, replace(prompt, turns=())), prompt
    )


def test_a_template_that_drops_earlier_turns_is_refused(speaking: Any) -> None:
    model = speaking("{% set messages = messages[-1:] %}" + PLAIN)
    with pytest.raises(
        ModelError, match="leaves out 'grow the basil'; ask without a system message or earlier"
    ):
        render(model, Prompt("brew the mint", turns=TURNS))


@pytest.mark.parametrize("turns", [TURNS[:1], TURNS[::-1], (*TURNS, TURNS[0])])
def test_turns_alternate_and_end_with_the_assistant(turns: tuple[Turn, ...]) -> None:
    with pytest.raises(PairError, match="the assistant last"):
        Prompt("brew the mint", turns=turns)


@pytest.mark.parametrize("role, text", [("system", "hi"), ("user", " "), ("user", "see <image>")])
@pytest.mark.usefixtures("unchecked")
def test_a_turn_is_words_of_the_user_or_the_assistant(role: Any, text: str) -> None:
    with pytest.raises(PairError, match="a turn has the"):
        Turn(role, text)
