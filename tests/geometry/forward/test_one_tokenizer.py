"""One thread at a time uses a tokenizer, whose padding is state: named positions over several batches are right."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import get_ident
from typing import Any

import pytest
import torch

from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.capture import capture
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.models.processors import lock_of


@contextmanager
def overlaps(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count calls of the tokenizer that begin in one thread while another thread is inside it."""
    inside: dict[int, int] = {}
    found: list[int] = []
    encode = tokenizer._encode_plus

    def slowly(*given: Any, **options: Any) -> Any:
        here = get_ident()
        found.extend(1 for thread, calls in inside.items() if thread != here and calls)
        inside[here] = inside.get(here, 0) + 1
        time.sleep(0.002)
        try:
            return encode(*given, **options)
        finally:
            inside[here] -= 1

    with monkeypatch.context() as patch:
        patch.setattr(tokenizer, "_encode_plus", slowly)
        yield found


@pytest.mark.parametrize("position", ["request", "template", "after_instruction"])
def test_named_positions_over_several_batches(
    position: str, tiny: Model, tiny_pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = ["text", "typographic"]
    whole = capture(tiny, tiny_pairs, arms, position=position)
    with overlaps(tiny.tokenizer, monkeypatch) as found:
        few = capture(Runner(tiny, Limits(prompts=3)), tiny_pairs, arms, position=position)
    assert found == []
    for arm in arms:
        assert torch.allclose(few[arm].residuals, whole[arm].residuals, atol=1e-4)


def test_without_the_lock_threads_meet_in_the_tokenizer(
    tiny: Model, tiny_pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(tiny), "tokenizing", nullcontext())
    with overlaps(tiny.tokenizer, monkeypatch) as found:
        try:
            capture(Runner(tiny, Limits(prompts=3)), tiny_pairs, ["text"], position="request")
        except ValueError:
            found.append(1)  # a batch was padded as the other thread asked
    assert found


def test_models_with_one_tokenizer_have_one_lock(tiny: Model) -> None:
    assert tiny.tokenizing is lock_of(tiny.tokenizer)
