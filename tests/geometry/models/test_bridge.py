"""A block that nothing hangs on runs as Hugging Face's own; one with any hook runs through TransformerLens."""

from copy import deepcopy
from typing import Any

import pytest
import torch

from regap.geometry.models.loading import load
from regap.geometry.models.model import Model
from regap.organism.checkpoint import build_processor

IDS = torch.arange(5, 14)[None]
POINTS = ["embed.hook_out", "blocks.1.hook_in", "blocks.1.hook_out", "ln_final.hook_out", "unembed.hook_in"]


@pytest.fixture
def model(plain: Any, tiny_architecture: Any) -> Model:
    return load(deepcopy(plain), processor=build_processor(tiny_architecture))


def calls_of(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hook points that a pass goes through."""
    from transformer_lens.hook_points import HookPoint

    passed: list[str] = []

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        passed.append(self.name)
        return x

    with monkeypatch.context() as patch, torch.inference_mode():
        patch.setattr(HookPoint, "forward", forward)
        model.hf(input_ids=IDS)
    return passed


def test_without_hooks_no_point_is_passed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert calls_of(model, monkeypatch) == []


@pytest.mark.parametrize("name", POINTS)
def test_a_hook_is_called_on_a_model_that_ran_without_and_no_more_once_it_is_removed(
    name: str, model: Model, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    point = model.bridge.hook_dict[name]
    calls_of(model, monkeypatch)
    handle = point.register_forward_hook(lambda *given: seen.append(given[-1]))
    with torch.inference_mode():
        torch.testing.assert_close(model.hf(input_ids=IDS).logits, plain(input_ids=IDS).logits)
    assert len(seen) == 1
    passed = calls_of(model, monkeypatch)
    assert name in passed and len(passed) <= 2  # both points of its module, and no other
    handle.remove()
    assert calls_of(model, monkeypatch) == []


def test_a_hook_on_gradients_is_called(model: Model) -> None:
    seen: list[torch.Tensor] = []
    handle = model.bridge.hook_dict["blocks.1.hook_out"].register_full_backward_hook(
        lambda *given: seen.append(given[-1][0])
    )
    model.hf(input_ids=IDS).logits.sum().backward()
    handle.remove()
    assert len(seen) == 1 and seen[0].abs().sum() > 0


def test_a_pass_of_transformerlens_stops_where_it_is_told(model: Model) -> None:
    with torch.inference_mode():
        whole, cache = model.bridge.run_with_cache(IDS)
        stopped = model.bridge(IDS, stop_at_layer=2)
    assert whole.shape[-1] > 2
    torch.testing.assert_close(stopped, cache["blocks.2.hook_in"])
