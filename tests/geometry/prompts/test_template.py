"""Templates of any kind: what they read, what they may be told, and what is refused in one line."""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from regap.analyses.self_test.template import check_template
from regap.errors import ModelError, PairError
from regap.geometry.data.pairs import Pairs, Prompt, Turn
from regap.geometry.forward.batches import batch_rows
from regap.geometry.forward.capture import capture
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model, load
from regap.geometry.prompts import template
from regap.geometry.prompts.batch import collate, prompt_digest
from regap.geometry.prompts.chat import render
from regap.organism.checkpoint import build_processor

MakeModel = Callable[..., Model]
STRING = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + ' . ' }}{% endfor %}{{ 'assistant:' }}"
PRINTED = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }} . {% endfor %}assistant:"
JSON = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] | tojson }} . {% endfor %}assistant:"
TEXTS = (
    "{% for m in messages %}{{ m['role'] + ': ' }}{% for p in m['content'] %}{{ p['text'] }}{% endfor %}"
    "{{ ' . ' }}{% endfor %}{{ 'assistant:' }}"
)
EACH = (
    "{% for m in messages %}{{ m['role'] + ': ' }}{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}{{ '<image> ' }}{% else %}{{ p['text'] }}{% endif %}{% endfor %}{{ ' . ' }}"
    "{% endfor %}"
)
THINKING = (
    EACH + "{{ 'assistant:' }}{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ ' <think></think>' }}{% else %}{{ ' <think>' }}{% endif %}"
)
DATED = "{{ 'today ' + strftime_now('%d %B %Y') + ' ' }}" + EACH + "{{ 'assistant:' }}"
DATE_STRING = (
    '{% if date_string is not defined %}{% set date_string = strftime_now("%d %b %Y") %}{% endif %}'
    "{{ 'today ' + date_string + ' ' }}" + EACH + "{{ 'assistant:' }}"
)


@pytest.fixture
def speaking(tiny: Model) -> MakeModel:
    """Makes the tiny model with another chat template, and options for it."""

    def make(text: str, **options: Any) -> Model:
        processor = deepcopy(tiny.processor)
        processor.chat_template = text
        return Model(tiny.bridge, processor, "speaking", "speaking", template=options)

    return make


@pytest.fixture
def pictured(tiny_pairs: Pairs) -> Prompt:
    picture = tiny_pairs.pairs[0].prompts["typographic"].picture
    assert picture is not None
    return Prompt("look <image> brew the mint", (picture,))


@pytest.mark.parametrize(
    "text", [STRING, PRINTED, JSON, TEXTS], ids=["joined", "printed", "json", "texts alone"]
)
def test_a_template_of_strings_gets_strings_with_the_image_in_its_place(
    text: str, speaking: MakeModel, pictured: Prompt
) -> None:
    model = speaking(text)
    if text == JSON:
        with pytest.raises(ModelError, match="its chat template"):
            render(model, Prompt('brew "the" mint'))
        return
    turns = (Turn("user", "hello"), Turn("assistant", "yes"))
    assert render(model, Prompt("brew the mint")) == "user: brew the mint . assistant:"
    assert render(model, pictured) == "user: look <image> brew the mint . assistant:"
    assert render(model, Prompt("brew", system="quiet", turns=turns)) == (
        "system: quiet . user: hello . assistant: yes . user: brew . assistant:"
    )
    assert int(collate(model, [pictured], [0]).image.sum()) > 0


def test_a_processor_that_names_no_image_is_refused_with_a_template_of_strings(
    speaking: MakeModel, pictured: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = speaking(STRING)
    assert render(model, Prompt("brew the mint"))
    monkeypatch.setattr(model.processor, "image_token", None)
    with pytest.raises(
        ModelError, match=r"takes no images, .* set a processor.chat_template that reads a list"
    ):
        render(model, pictured)


BROKEN = {
    "types": "{{ messages[0]['content'] + 3 }}",
    "missing": "{{ messages[0].absent.absent }}",
    "division": "{{ 1 / 0 }}",
    "arguments": "{{ messages[0]['content'] | join(3, 4, 5, 6) }}",
    "index": "{{ messages[7]['content'] }}",
    "syntax": "{% if %}",
    "unsafe": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "recursion": "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    "range": "{% for i in range(10000000) %}a{% endfor %}",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=list(BROKEN))
def test_a_template_that_fails_is_one_line(text: str, speaking: MakeModel) -> None:
    with pytest.raises(ModelError, match=r"^model speaking: its chat template ") as caught:
        render(speaking(text), Prompt("brew the mint"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loops", ["range", "letters"])
def test_a_template_that_never_ends_is_stopped(
    loops: str, speaking: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "SECONDS", 0.2)
    over = "range(90000)" if loops == "range" else "messages[0]['role'] * 20000"
    endless = "".join(f"{{% for {name} in {over} %}}" for name in "abc") + "".join(["{% endfor %}"] * 3)
    start = time.monotonic()
    with pytest.raises(ModelError, match="did not end within"):
        render(speaking(endless + EACH), Prompt("brew the mint"))
    assert time.monotonic() - start < 10
    time.sleep(0.3)  # nothing comes afterwards
    assert render(speaking(EACH + "{{ range(3) | list | length }}"), Prompt("brew the mint")).endswith("3")


def test_a_template_that_was_stopped_once_is_not_waited_for_again(
    speaking: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "SECONDS", 0.5)
    model = speaking("{% for a in range(90000) %}{% for b in range(90001) %}{% endfor %}{% endfor %}" + EACH)
    start = time.monotonic()
    for words in ("brew the mint", "brew the mint and the sage", "brew the mint again"):
        with pytest.raises(ModelError, match=r"did not end .*; set another processor.chat_template"):
            render(model, Prompt(words))
    assert time.monotonic() - start < 1.2


def refusing(condition: str) -> str:
    return f"{{% if {condition} %}}{{{{ raise_exception('no') }}}}{{% endif %}}" + EACH + "{{ 'assistant:' }}"


@pytest.mark.parametrize(
    ("condition", "remedy"),
    [
        ("messages[0]['role'] == 'system'", "ask without a system message"),
        ("messages | length > 2", "ask without earlier turns"),
        ("messages | length > 1", "ask without a system message and earlier turns"),
        ("true", "set another processor.chat_template"),
    ],
)
def test_the_remedy_names_what_the_template_refuses(condition: str, remedy: str, speaking: MakeModel) -> None:
    turns = (Turn("user", "hello"), Turn("assistant", "yes"))
    with pytest.raises(ModelError) as told:
        render(speaking(refusing(condition)), Prompt("brew", system="quiet", turns=turns))
    assert f"; {remedy}" in str(told.value).removesuffix(" (in Python only)") + ";"
    assert str(told.value).endswith((remedy, " (in Python only)"))


@pytest.mark.parametrize("text", [DATED, DATE_STRING], ids=["strftime_now", "date_string"])
def test_the_date_is_the_same_every_day(
    text: str, speaking: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompt = speaking(text), Prompt("brew the mint")
    before = render(model, prompt)
    assert before.startswith("today 26 Jul")

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2091, 1, 2, tzinfo=tz)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Tomorrow)
    assert "2091" in model.processor.apply_chat_template(
        [{"role": "user", "content": "so"}], chat_template="{{ strftime_now('%Y') }}"
    )
    assert prompt_digest(render(model, prompt), prompt) == prompt_digest(before, prompt)
    assert render(speaking(text, date="2026-11-05"), prompt).startswith("today 05 Nov")
    (noted,) = [check for check in check_template(model) if check.name == "template: date"]
    assert noted.noted and "2024-07-26" in noted.detail
    assert noted.detail.endswith("sets it (--template date=...)")


def test_options_reach_the_template_and_the_fingerprint(plain: Any, tiny_architecture: Any) -> None:
    def loaded(options: dict[str, Any] | None) -> Model:
        processor = build_processor(tiny_architecture)
        processor.chat_template = THINKING
        return load(deepcopy(plain), processor=processor, template=options)

    thinking, silent = loaded(None), loaded({"enable_thinking": False})
    prompt = Prompt("brew the mint")
    assert render(thinking, prompt).endswith("<think>") and render(silent, prompt).endswith("</think>")
    assert thinking.fingerprint != silent.fingerprint == loaded({"enable_thinking": False}).fingerprint
    told = {model: next(iter(check_template(model))) for model in (thinking, silent)}
    assert told[thinking].noted and "opens a block of thought" in told[thinking].detail
    assert "False}) may turn it off (--template enable_thinking=false)" in told[thinking].detail
    assert not told[silent].noted and "closes a block of thought" in told[silent].detail
    with pytest.raises(
        ModelError, match=r"does not read 'enable_thinkin'; its options are: enable_thinking, and date"
    ):
        loaded({"enable_thinkin": False})
    with pytest.raises(ModelError, match=r"template date is 'today'; write it as 2026-01-31"):
        loaded({"date": "today"})


def test_a_system_message_that_is_not_taken_is_told(speaking: MakeModel) -> None:
    dropped = EACH.replace("in messages", "in messages[-1:]") + "{{ 'assistant:' }}"
    (noted,) = [check for check in check_template(speaking(dropped)) if check.noted]
    assert noted.name == "template: system message" and "leaves out 'answer in few words'" in noted.detail


def test_words_that_stand_for_an_image_are_refused(speaking: MakeModel) -> None:
    model = speaking(EACH + "{{ 'assistant:' }}")
    model.processor.boi_token = "<start_of_image>"
    marked = "what is <start_of_image> here"
    for prompt in (
        Prompt(marked),
        Prompt("so", system=marked),
        Prompt("so", turns=(Turn("user", marked), Turn("assistant", "well"))),
    ):
        with pytest.raises(PairError, match=r"holds '<start_of_image>', which model .* takes for an image"):
            render(model, prompt)
    with pytest.raises(PairError, match="takes for an image"):
        render(model, Prompt("so", system="an <image> here"))


def test_a_processor_of_another_model_is_named_with_a_remedy(
    tiny_pairs: Pairs, plain: Any, tiny_architecture: Any
) -> None:
    processor: Any = build_processor(tiny_architecture)
    processor.num_additional_image_tokens += 3
    model = load(deepcopy(plain), processor=processor)
    few = tiny_pairs.first(1)
    with pytest.raises(
        ModelError, match=r"do not match.*; its processor counts tokens of images or sounds in another way"
    ) as caught:
        capture(model, few, ["typographic"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "together"), [("longrope", True), ("dynamic", False), ("default", True)])
def test_prompts_on_both_sides_of_a_switch_of_frequencies_are_kept_apart(
    kind: str, together: bool, tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    rope = {"rope_type": kind, "original_max_position_embeddings": 12}
    text = SimpleNamespace(rope_parameters=rope, max_position_embeddings=512)
    monkeypatch.setattr(type(tiny.hf.config), "get_text_config", lambda *_, **__: text)
    lengths = [4, 10, 30, 31]
    monkeypatch.setattr("regap.geometry.forward.batches.prompt_lengths", lambda *_: lengths)
    groups = batch_rows(replace(tiny), [Prompt("brew")] * 4, 64)  # limits are looked up once for a model
    expected = [[3, 2], [1, 0]] if kind == "longrope" else [[3], [2], [1, 0]]
    assert groups == ([[3, 2, 1, 0]] if kind == "default" else expected)
    assert together == any(len(group) > 1 and 3 in group for group in groups)


def test_batches_of_a_model_with_a_template_of_strings_are_right(
    speaking: MakeModel, tiny_pairs: Pairs
) -> None:
    model = speaking(STRING)
    whole, parts = (
        capture(Runner(model, Limits(prompts=most)), tiny_pairs.first(3), ["typographic"], position="request")
        for most in (64, 2)
    )
    found = parts["typographic"].residuals - whole["typographic"].residuals
    assert float(found.abs().max()) < 1e-4
