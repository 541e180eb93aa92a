"""With every hook of TransformerLens' adapter a model computes what it does without, and its cache says so."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from parity import SEEN, Subject, difference, subject
from tiny_llava import llava
from tiny_models import FAMILIES, WITH_PARTS
from tiny_parts import LAYERS, WIDTH, awake
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.data.pairs import Pair, Pairs
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.forward.prefix import prefill, run, run_last_token
from regap.geometry.models import loading
from regap.geometry.models.identity import identity_of
from regap.geometry.models.loading import load
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, inputs
from regap.interventions.decoding import Decoding
from regap.interventions.edits.ablation import Ablation, Constant
from regap.interventions.edits.components import Component, ComponentKind
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.generation import _from_start

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
NOT_THERE = ("qwen2_vl", "internvl", "smolvlm", "paligemma", "mllama", "aya_vision", "ovis2")
NOT_THERE += ("qwen2_5_omni", "qwen3_omni", "voxtral")
"""Families that TransformerLens has no adapter for."""
THERE = [family for family in WITH_PARTS if family not in NOT_THERE]
SEEING = ["llava", "llava_next", "qwen2_5_vl", "qwen3_vl", "gemma3", "pixtral", "glm4v", "idefics3"]
EVERY = tuple(range(LAYERS))
ROUNDED = 1e-5
"""Attention in the eager way and norms computed anew: the same numbers but for rounding."""
VECTOR = torch.linspace(-1, 1, WIDTH, dtype=torch.float64)


@pytest.fixture(scope="module")
def of(request: pytest.FixtureRequest) -> Subject:
    return subject(request.param, "float32")


@pytest.fixture(scope="module")
def full(of: Subject) -> Model:
    return load(deepcopy(of.bare), processor=FAMILIES[of.family]().processor, hooks="all")


every_family = pytest.mark.parametrize("of", THERE, indirect=True)
seeing = pytest.mark.parametrize("of", SEEING, indirect=True)


def cached(model: Model, batch: Batch) -> tuple[Tensor, Any]:
    others: dict[str, Any] = {name: value for name, value in batch.inputs.items() if name != "input_ids"}
    with torch.inference_mode():
        return model.bridge.run_with_cache(batch.inputs["input_ids"], **others)


@every_family
def test_states_logits_and_edits_are_those_of_the_fast_bridge(of: Subject, full: Model) -> None:
    for kind in of.kinds:
        batch = of.batch(kind)
        with torch.inference_mode():
            expected = of.bare(**batch.inputs, use_cache=False).logits[:, -1]
        assert difference(run(full, batch, ()).logits, expected) <= ROUNDED
        for edits in ([], [Shift(Site((1,), "last"), VECTOR[None], 1.5, "v")]):
            seen, fast = run(full, batch, EVERY, edits), run(of.model, batch, EVERY, edits)
            assert difference(seen.states, fast.states) <= ROUNDED
            assert difference(seen.logits, fast.logits) <= ROUNDED
            hooks = [hook for edit in edits for hook in edit.hooks(full, batch)]
            once = run_last_token(full, prefill(full, batch), EVERY, hooks)
            assert difference(once.states, fast.states) <= 10 * ROUNDED


@every_family
def test_the_cache_holds_attention_heads_and_mlp_of_every_block(of: Subject, full: Model) -> None:
    for kind in of.kinds:
        batch = of.batch(kind)
        logits, cache = cached(full, batch)
        with torch.inference_mode():
            expected = of.bare(**batch.inputs, use_cache=False).logits
        assert difference(logits[batch.real], expected[batch.real]) <= ROUNDED
        prompts, length = batch.real.shape
        states = run(of.model, batch, EVERY).states
        for layer in EVERY:
            pattern = cache[f"blocks.{layer}.attn.hook_pattern"]
            assert pattern.shape[0] == prompts and pattern.shape[2] == length
            sums = pattern.sum(-1)[:, :, -1]
            assert bool((sums <= 1 + 1e-5).all()) and (of.family == "gpt_oss") == bool((sums < 0.99).any())
            z = cache[f"blocks.{layer}.attn.hook_z"]
            assert z.shape == (prompts, length, 2, z.shape[-1])
            attention, mlp = cache[f"blocks.{layer}.hook_attn_out"], cache[f"blocks.{layer}.hook_mlp_out"]
            before, after = cache["resid_pre", layer], cache["resid_post", layer]
            assert difference((before + attention + mlp)[batch.real], after[batch.real]) <= ROUNDED
            assert difference(after[:, -1], states[:, layer]) <= ROUNDED


@pytest.mark.parametrize("of", [*SEEING, "qwen3_moe", "llama4", "gpt_oss", "gemma2"], indirect=True)
def test_parts_are_taken_out_as_under_the_fast_bridge(of: Subject, full: Model) -> None:
    batch = of.batch(of.kinds[-1])
    kinds: tuple[ComponentKind, ...] = ("attention", "mlp", "head", "block")
    for kind in kinds:
        zero = torch.zeros(16 if kind == "head" else WIDTH)
        component = Component(kind, 1 if kind == "head" else -1)
        edit = Ablation(Site((1,), "all"), component, Constant({1: zero}))
        seen, fast = run(full, batch, EVERY, [edit]), run(of.model, batch, EVERY, [edit])
        assert difference(seen.states, fast.states) <= ROUNDED
        assert difference(fast.states, run(of.model, batch, EVERY).states) > 1e-3


@every_family
def test_edited_answers_are_those_of_the_fast_bridge(of: Subject, full: Model) -> None:
    batch = of.batch(of.kinds[-1])
    edit = Shift(Site((1,), "all"), VECTOR[None], 1.5, "v")
    assert list(_from_start(full, batch, edit.hooks(full, batch), Decoding(5))) == list(
        _from_start(of.model, batch, edit.hooks(of.model, batch), Decoding(5))
    )


@every_family
def test_it_is_the_same_model_with_states_of_its_own(of: Subject, full: Model) -> None:
    assert identity_of(full.hf) == identity_of(of.bare)
    assert full.fingerprint != of.model.fingerprint  # states agree but for rounding, and are not mixed
    assert (full.hooks, of.model.hooks) == ("all", "blocks")


@pytest.mark.parametrize("family", NOT_THERE)
def test_an_architecture_that_is_not_there_is_refused_in_one_line(family: str) -> None:
    made = FAMILIES[family]()
    name = type(made.model).__name__
    with pytest.raises(ModelError, match=f"model {name}: .* load it with hooks='blocks'") as caught:
        load(made.model, processor=made.processor, hooks="all")
    assert "\n" not in str(caught.value)
    assert load(made.model, processor=made.processor).layers == LAYERS  # nothing was wrapped


@seeing
def test_an_edit_that_would_be_half_an_edit_or_none_is_refused(of: Subject, full: Model) -> None:
    batch = of.batch("images")
    read: list[Tensor] = []

    def double(value: Tensor) -> Tensor:
        return 2 * value

    with torch.inference_mode(), hooked(full, [Hook("blocks.1.hook_resid_mid", read.append)]):
        full.hf(**batch.inputs, use_cache=False)
    assert read[0].shape[-1] == WIDTH
    with (
        pytest.raises(ModelError, match=r"resid_mid' of model .* can be read, not edited; .* hook_attn_out"),
        torch.inference_mode(),
        hooked(full, [Hook("blocks.1.hook_resid_mid", double)]),
    ):
        full.hf(**batch.inputs, use_cache=False)

    def first_key(pattern: Tensor) -> Tensor:
        return torch.zeros_like(pattern).index_fill(-1, torch.tensor([pattern.shape[-1] - 1]), 1.0)

    plain = run(full, batch, ()).logits
    try:
        with torch.inference_mode(), hooked(full, [Hook("blocks.1.attn.hook_pattern", first_key)]):
            changed = full.hf(**batch.inputs, use_cache=False, output_attentions=True).logits[:, -1]
    except ModelError as error:
        assert "computes attention without it; edit attn.hook_z" in str(error)
        assert of.family in ("qwen2_5_vl", "qwen3_vl", "glm4v")
    else:
        assert difference(changed, plain) > 1e-3


@pytest.mark.parametrize("of", ["gemma3", "qwen2_5_vl", "llava_next"], indirect=True)
def test_inputs_hold_everything_that_the_processor_returned(of: Subject, full: Model) -> None:
    pairs = Pairs(
        tuple(
            Pair(str(row), "harmful", "x", prompt.text, "test", {"image": prompt})
            for row, prompt in enumerate(SEEN)
        )
    )
    ids, others = inputs(full, pairs, "image")
    batch = of.batch("images")
    assert torch.equal(ids, batch.inputs["input_ids"]) and set(others) == set(batch.inputs) - {"input_ids"}
    with torch.inference_mode():
        logits, cache = full.bridge.run_with_cache(ids, **others)
    assert difference(logits[:, -1], run(of.model, batch, ()).logits) <= ROUNDED
    seen = cache["blocks.2.attn.hook_pattern"][
        ..., -1, :
    ]  # the others of Gemma look no farther than a window
    on_image = torch.where((ids == full.image_token)[:, None], seen, 0).sum(-1)
    assert bool((on_image > 0).all() and (on_image < 1).all())


def test_an_adapter_that_changes_the_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = llava()
    load(deepcopy(awake(made.model)), processor=made.processor, hooks="all")
    whole = loading.bridge

    def halved(model: Any, hooks: Any) -> Any:
        wrapped = whole(model, hooks)
        model.get_submodule("model.language_model.norm").register_forward_hook(lambda _, __, out: out * 0.5)
        return wrapped

    monkeypatch.setattr(loading, "bridge", halved)
    with pytest.raises(ModelError, match=r"adapter changes its logits \(largest relative difference 5.0e-01"):
        load(made.model, processor=made.processor, hooks="all")


@pytest.mark.usefixtures("unchecked")
def test_what_hooks_can_be_is_said() -> None:
    wrong: Any = "some"
    with pytest.raises(ModelError, match="hooks is 'some'; write 'blocks' or 'all'"):
        load("organism", hooks=wrong)
    with pytest.raises(ModelError, match=r"attention='sdpa' cannot be combined with hooks='all'"):
        load("organism", hooks="all", attention="sdpa")
