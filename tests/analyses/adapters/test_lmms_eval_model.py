"""A corrected model in lmms-eval, against a stand-in of its interface of version 0.7: the base class of its models, the
manifest of its registry, and requests as its evaluator makes them. lmms-eval itself is too heavy for the tests.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from regap.analyses.adapters import lmms_eval_model
from regap.analyses.adapters.corrected_model import CorrectedModel, prompt_of
from regap.errors import ConfigError, PairError
from regap.geometry.data.pairs import IMAGE_SLOT, Pairs
from regap.geometry.models.loading import Model
from regap.interventions.edits.shift import Shift
from regap.interventions.generation import generate


@dataclass(frozen=True)
class Manifest:
    model_id: str
    chat_class_path: str


@dataclass(frozen=True)
class Request:
    args: tuple[Any, ...]


class Hook:
    def __init__(self) -> None:
        self.kept: list[tuple[Any, ...]] = []

    def add_partial(self, *what: Any) -> None:
        self.kept.append(what)


class Base:
    is_simple = True

    def __init__(self) -> None:
        self.cache_hook, self.task_dict = Hook(), {}


@pytest.fixture
def lmms_eval(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    api, registry = ModuleType("lmms_eval.api.model"), ModuleType("lmms_eval.models.registry_v2")
    api.lmms, registry.ModelManifest = Base, Manifest  # type: ignore[attr-defined]
    for module in (ModuleType("lmms_eval"), api, registry):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    lmms_eval_model.regap_model.cache_clear()
    yield
    lmms_eval_model.regap_model.cache_clear()


def shift_of(tiny: Model) -> Any:
    """A correction large enough to change what a random model writes."""
    import torch

    from regap.interventions.edits.site import Site

    vector = torch.full((1, tiny.bridge.cfg.d_model), 3.0)
    return Shift(Site((1,)), vector, -4.0, "D")


def messages(pair: Any, arm: str) -> list[dict[str, Any]]:
    """The prompt of an arm as chat messages, its pictures where they stand."""
    prompt = pair.prompts[arm]
    pictures = iter(prompt.pictures)
    parts: list[dict[str, Any]] = []
    for place, words in enumerate(prompt.text.split(IMAGE_SLOT)):
        parts += [{"type": "image", "url": next(pictures).open()}] if place else []
        parts += [{"type": "text", "text": words}] if words else []
    return [{"role": "user", "content": parts}]


def requests(pairs: Pairs, arm: str, **settings: Any) -> list[Request]:
    return [
        Request(
            ("context", lambda document: document, {"max_new_tokens": 6, **settings}, place, "task", "test")
        )
        for place, _ in enumerate(pairs)
    ]


def test_it_is_found_by_its_manifest_and_is_a_chat_model(lmms_eval: None) -> None:
    manifest = lmms_eval_model.manifest()
    module, _, name = manifest.chat_class_path.rpartition(".")
    found = getattr(sys.modules[module], name)
    assert manifest.model_id == "regap" and issubclass(found, Base) and found.is_simple is False


def test_it_answers_as_generate_does_under_the_same_edits(
    lmms_eval: None, tiny: Model, tiny_pairs: Pairs
) -> None:
    asked = tiny_pairs.test.where(arm="typographic")
    told: list[list[str]] = []
    for edits in ([], [shift_of(tiny)]):
        model = lmms_eval_model.model_for(tiny, edits, batch_size=4)
        model.task_dict = {"task": {"test": [messages(pair, "typographic") for pair in asked]}}
        told.append(model.generate_until(requests(asked, "typographic")))
        expected = generate(tiny, asked, "typographic", edits, max_new_tokens=6)
        assert told[-1] == [one.text for one in expected]
        assert len(model.cache_hook.kept) == len(asked)
    assert told[0] != told[1]


def test_budgets_are_kept_apart_and_answers_end_where_they_should(
    lmms_eval: None, tiny: Model, tiny_pairs: Pairs
) -> None:
    pair = tiny_pairs.test.pairs[0]
    model = lmms_eval_model.model_for(tiny)
    model.task_dict = {"task": {"test": [messages(pair, "text")] * 3}}
    long, short, long_again = (
        Request(("", lambda document: document, {"max_new_tokens": budget}, place, "task", "test"))
        for place, budget in enumerate((8, 2, 8))
    )
    texts = model.generate_until([long, short, long_again])
    assert texts[0] == texts[2] and texts[0].startswith(texts[1]) and len(texts[1]) < len(texts[0])
    end = texts[0][len(texts[1]) :].strip()[:3]
    [cut] = model.generate_until(
        [Request((*long.args[:2], {"max_new_tokens": 8, "until": ["", end]}, *long.args[3:]))]
    )
    assert cut == texts[0].split(end)[0] != texts[0]


@pytest.mark.parametrize("settings", [{"do_sample": True}, {"temperature": 0.7}, {"num_beams": 2}])
def test_what_is_not_greedy_is_refused(settings: dict[str, Any], lmms_eval: None, tiny: Model) -> None:
    model = lmms_eval_model.model_for(tiny)
    with pytest.raises(ConfigError, match="regap answers greedily"):
        model.generate_until([Request(("", None, settings, 0, "task", "test"))])


def test_what_it_cannot_do_says_so(lmms_eval: None, tiny: Model) -> None:
    model = lmms_eval_model.model_for(tiny)
    with pytest.raises(NotImplementedError, match="type generate_until"):
        model.loglikelihood([])
    with pytest.raises(NotImplementedError, match="one round"):
        model.generate_until_multi_round([])
    with pytest.raises(ConfigError, match="write run=RUN"):
        type(model)()
    with pytest.raises(ConfigError, match="name a folder that `regap run` made"):
        type(model)(run="nowhere")


def test_without_lmms_eval_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmms_eval.models.registry_v2", None)
    with pytest.raises(ConfigError, match=r"pip install regap\[lmms\]"):
        lmms_eval_model.manifest()
    with pytest.raises(AttributeError, match="has no attribute 'Other'"):
        _ = lmms_eval_model.Other


def test_messages_make_one_prompt() -> None:
    shown = Image.new("RGB", (4, 4), "red")
    parts = [
        {"type": "text", "text": "see <image>:"},
        {"type": "image", "url": shown},
        {"type": "text", "text": "why?"},
    ]
    prompt = prompt_of([{"role": "system", "content": "be brief"}, {"role": "user", "content": parts}])
    assert (prompt.text, prompt.system) == (f"see the image:{IMAGE_SLOT}why?", "be brief")
    assert [picture.open().getpixel((0, 0)) for picture in prompt.pictures] == [(255, 0, 0)]


USER = {"role": "user", "content": "hello"}
BAD: dict[str, tuple[list[dict[str, Any]], str]] = {
    "two turns": (
        [USER, {"role": "assistant", "content": "hi"}, USER],
        "messages have the roles user, assistant, user",
    ),
    "none": ([], "messages have the roles none"),
    "a video": ([{"role": "user", "content": [{"type": "video", "url": "x"}]}], "holds video"),
    "an image that is a number": ([{"role": "user", "content": [{"type": "image", "url": 3}]}], "is a int"),
    "an image that is not there": (
        [{"role": "user", "content": [{"type": "image", "url": "no.png"}]}],
        "check the path",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_messages_that_make_no_prompt_are_named(case: str) -> None:
    told, says = BAD[case]
    with pytest.raises(PairError, match=says):
        prompt_of(told)


def test_no_prompts_have_no_answers(tiny: Model) -> None:
    assert CorrectedModel(tiny, ()).answers([], 4, 1) == ()
