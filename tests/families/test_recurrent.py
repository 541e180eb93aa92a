"""What a pass leaves in a KV cache is taken back, or prompts are run whole: no answer depends on those before it."""

from collections.abc import Iterator

import pytest
import torch
from parity import PROMPTS, Subject, difference, subject
from tiny_models import FAMILIES
from tiny_parts import WIDTH, awake

from regap.analyses.self_test.checks import self_tests
from regap.errors import ModelError
from regap.geometry.data.pairs import Pair, Pairs
from regap.geometry.forward import kv_cache, prefix
from regap.geometry.forward.kv_cache import comes_back, never_comes_back
from regap.geometry.forward.parallel_last_token import packs_versions
from regap.geometry.forward.prefix import prefill, run, run_last_token
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.generation import generate_each
from regap.interventions.plain_models.attached import edited
from regap.interventions.plain_models.reach import reuses_cache

RECURRENT = ("qwen3_5", "falcon_h1")
SHIFT = Shift(Site((1,), "last"), torch.linspace(-1, 1, WIDTH, dtype=torch.float64)[None], 3.0, "planted")


@pytest.fixture(params=RECURRENT)
def of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subject]:
    """A recurrent model whose cache says that it can be cropped, as in some versions of transformers."""
    monkeypatch.setattr(kv_cache, "can_be_cropped", lambda cache: cache is not None)
    yield subject(request.param, "float32")


def test_a_state_that_stays_is_found_by_using_it_twice(of: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in of.kinds:
        batch = of.batch(kind)
        expected = run(of.model, batch, (2,))
        assert prefill(of.model, batch).whole and not packs_versions(of.model, prefill(of.model, batch))
        for _ in range(2):
            found = run_last_token(of.model, prefill(of.model, batch), (2,))
            assert torch.equal(found.logits, expected.logits)
    assert never_comes_back(of.model.hf)

    monkeypatch.setattr(prefix, "comes_back", lambda *_: True)  # the control: what would be returned without
    monkeypatch.setattr(prefix, "never_comes_back", lambda _: False)
    batch = of.batch("words")
    first, second = (run_last_token(of.model, prefill(of.model, batch), (2,)) for _ in range(2))
    assert difference(first.logits, second.logits) > 1e-3


ASKED = Pairs(
    tuple(
        Pair(str(i), "harmful", "any", each.text, "test", {"text": each})
        for i, each in enumerate(PROMPTS["words"])
    )
)


def test_answers_do_not_depend_on_other_conditions(of: Subject) -> None:
    conditions = {"shift": [SHIFT], "none": [], "again": [SHIFT]}
    together = generate_each(of.model, ASKED, "text", conditions, max_new_tokens=6)
    assert together["shift"] == together["again"] != together["none"]
    assert together["none"] == generate_each(of.model, ASKED, "text", {"": []}, max_new_tokens=6)[""]


def test_a_plain_model_is_run_whole_too(of: Subject) -> None:
    batch = of.batch("words")
    length = batch.columns
    expected = generate_each(of.model, ASKED, "text", {"": [SHIFT]}, max_new_tokens=6)[""]
    with edited(of.bare, SHIFT):
        found = of.bare.generate(**batch.inputs, max_new_tokens=6, do_sample=False)[:, length:]
    assert [row[0] for row in found.tolist()] == [answer.first_token for answer in expected]
    assert not reuses_cache(of.model)


@pytest.mark.parametrize("of", ["qwen3_5"], indirect=True)
def test_every_self_test_passes_and_says_so(of: Subject) -> None:
    checks = list(self_tests(of.model))
    assert [check for check in checks if not check.passed] == []
    reused = [check for check in checks if "each time the KV cache is used" in check.name]
    assert reused and all("cannot be put back" in check.detail for check in reused)


def test_windows_that_are_full_are_put_back() -> None:
    of = subject("gemma3", "float32")
    batch = of.batch("images")
    assert batch.columns > 16  # the window
    expected = run(of.model, batch, (2,))
    for _ in range(3):
        found = run_last_token(of.model, prefill(of.model, batch), (2,))
        assert not prefill(of.model, batch).whole
        assert difference(found.logits, expected.logits) < 1e-5


def test_a_cache_that_finds_out_only_in_crop_is_not_used() -> None:
    class Odd:
        is_croppable = True

    def once() -> torch.Tensor:
        raise ValueError("cannot crop")

    assert not comes_back(torch.nn.Linear(1, 1), Odd(), once)


def test_a_plain_model_with_nothing_but_a_state_is_refused() -> None:
    bare = awake(FAMILIES["mamba2"]().model)
    with (
        pytest.raises(ModelError, match=r"keeps only a recurrent state, .* edit it with generate"),
        edited(bare, SHIFT),
    ):
        pass
