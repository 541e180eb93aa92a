"""The self-tests pass on a model that is right, and the right one fails on one that is not."""

from collections.abc import Callable
from copy import deepcopy
from types import MethodType
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from regap.analyses.self_test import hook_names
from regap.analyses.self_test.checks import self_tests
from regap.analyses.self_test.hook_names import Check
from regap.commands.command_line import application
from regap.geometry.models.component_map import ModulePath, Submodule
from regap.geometry.models.loading import Model, load
from regap.organism.checkpoint import build_processor


@pytest.fixture
def fresh(plain: Any, tiny_architecture: Any) -> Model:
    return load(deepcopy(plain), processor=build_processor(tiny_architecture))


def failed(model: Model) -> set[str]:
    return {check.name for check in self_tests(model) if not check.passed}


def test_a_right_model_passes_every_test(fresh: Model) -> None:
    checks = list(self_tests(fresh))
    assert len(checks) == len({check.name for check in checks}) == 70
    assert [check for check in checks if not check.passed] == []
    found = {check.name: check.detail for check in checks}
    assert found["image: position image"].startswith("9 tokens: '<image> <image>")
    assert found["image: position image:norm"] == "5 of 9 image tokens"
    assert found["text: position last"] == "1 tokens: 'assistant:'"


def another_layer(model: Model) -> None:
    object.__setattr__(model, "hook_name", lambda layer: f"blocks.{min(layer + 1, 3)}.hook_out")


def pads_blindly(model: Model) -> None:
    forward = type(model.hf.model).forward

    def blind(self: Any, *args: Any, attention_mask: Any = None, **options: Any) -> Any:
        return forward(self, *args, attention_mask=torch.ones_like(attention_mask), **options)

    model.hf.model.forward = MethodType(blind, model.hf.model)


def leaves_a_hook(model: Model) -> None:
    """A hook that is put on by the first pass and never comes off."""
    block = model.bridge.blocks[3].original_component
    calls: list[None] = []

    def later(module: Any, inputs: Any, output: Any) -> Any:
        calls.append(None)
        return output + 0.01 * len(calls)

    block.register_forward_hook(later)


def names_another_module(part: Submodule, path: str) -> Callable[[Model], None]:
    def spoil(model: Model) -> None:
        at_input = model.parts[part].at_input
        vars(model)["parts"] = {**model.parts, part: ModulePath(path, at_input)}

    return spoil


WRONG: list[tuple[Callable[[Model], None], str]] = [
    (another_layer, "text: residuals equal Hugging Face's hidden states"),
    (another_layer, "image: an edit at last equals a raw hook"),
    (another_layer, "image: answers edited at all equal a raw hook's"),
    (pads_blindly, "image: a padded batch equals single prompts"),
    (leaves_a_hook, "text: hooks come off"),
    (
        names_another_module("mlp", "input_layernorm"),
        "text: attention and MLP add up to what each block adds",
    ),
    (
        names_another_module("mlp", "self_attn"),
        "image: without its MLP a block adds what its attention writes",
    ),
    (
        names_another_module("heads", "self_attn.q_proj"),
        "image: without its heads attention writes the same at every token",
    ),
    (names_another_module("heads", "self_attn.q_proj"), "text, all hooks: attn.hook_z reads the same"),
]


@pytest.mark.parametrize(("spoil", "name"), WRONG)
def test_a_wrong_model_fails_the_test_of_what_is_wrong(
    spoil: Callable[[Model], None], name: str, fresh: Model
) -> None:
    spoil(fresh)
    assert name in failed(fresh)


def test_a_model_that_all_hooks_change_fails(fresh: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hook_names.with_all_hooks

    def louder(model: Model) -> Model:
        full = whole(model)
        full.bridge.blocks[2].register_forward_hook(lambda _, __, output: output * 1.1)
        return full

    monkeypatch.setattr(hook_names, "with_all_hooks", louder)
    names = failed(fresh)
    assert {f"{kind}, all hooks: logits equal those of hooks='blocks'" for kind in ("text", "image")} <= names


def test_numbers_that_do_not_fit_are_seen(fresh: Model) -> None:
    with torch.no_grad():
        fresh.hf.model.language_model.layers[1].mlp.down_proj.weight.fill_(float("inf"))
    names = failed(fresh)
    assert {"text: float32 holds every number", "image: float32 holds every number"} <= names


def test_the_table_is_printed_and_a_failure_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(application(["doctor"]), ["doctor", "organism:none"])
    assert done.exit_code == 0 and "one prompt as the model reads it" in done.output
    said = " ".join(done.output.split())
    assert "trust it: all " in said and said.endswith("hooks available: blocks and all")
    monkeypatch.setattr(
        "regap.analyses.self_test.checks.self_tests", lambda _: [Check("sound", False, "unsound")]
    )
    done = CliRunner().invoke(application(["doctor"]), ["doctor", "organism:none"])
    assert done.exit_code == 1 and "unsound" in done.output
    said = " ".join(done.output.split())
    assert "do not trust it: 1 of " in said and said.endswith("sound (unsound); hooks available: unknown")


def test_a_processor_of_another_model_is_a_failed_check_with_a_remedy(
    plain: Any, tiny_architecture: Any
) -> None:
    processor: Any = build_processor(tiny_architecture)
    processor.num_additional_image_tokens += 3
    model = load(deepcopy(plain), processor=processor)
    wrong = [check for check in self_tests(model) if not check.passed]
    assert [check.name for check in wrong] == ["image: float32 holds every number"]
    assert "do not match" in wrong[0].detail and "use the processor that belongs to it" in wrong[0].detail
