"""Parts of blocks in every family: they add up, edits equal raw hooks, versions side by side equal single ones."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from parity import Subject, difference, subject
from tiny_models import WITH_PARTS
from tiny_parts import LAYERS, WIDTH
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.heads_reading import heads_reading
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.forward.parallel_last_token import packs_versions, run_versions
from regap.geometry.forward.prefix import prefill, run
from regap.geometry.models.component_map import ModulePath
from regap.geometry.models.submodule_hooks import has_part
from regap.geometry.prompts.positions import Positions
from regap.interventions.edits.ablation import Ablation, Constant, Slots, read_component, require_parts_add_up
from regap.interventions.edits.components import Component, ComponentKind
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.edits.token_scale import scale_hooks

EXACT = 1e-6
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def each(request: pytest.FixtureRequest) -> Subject:
    return subject(request.param, "float32")


every_family = pytest.mark.parametrize("each", WITH_PARTS, indirect=True)


def layers_of(of: Subject) -> list[int]:
    return [layer for layer in range(LAYERS) if layer not in of.model.crossing]


@every_family
def test_attention_writes_the_same_for_all_tokens_once_all_values_are_nothing(each: Subject) -> None:
    """With no values, only what does not depend on the prompt is left: nothing, or a bias."""
    batch = each.batch(each.kinds[-1])
    found = [layer for layer in layers_of(each) if has_part(each.model, "values", layer)]
    assert found or "values" not in each.model.parts
    none = torch.zeros(batch.real.shape)
    for layer in found:
        kept: list[Tensor] = []
        keep = Hook(f"blocks.{layer}.hook_attn_out", lambda written, kept=kept: kept.append(written.clone()))
        for hooks in ([], scale_hooks(each.model, batch, [layer], ["values"], none)):
            with torch.inference_mode(), hooked(each.model, [*hooks, keep]):
                each.model.hf(**batch.inputs, use_cache=False)
        before, after = ((one - one[:, -1:]).abs().amax() for one in kept)
        assert float(after) <= EXACT < float(before)


@every_family
def test_what_attention_and_mlp_write_is_what_the_block_adds(each: Subject) -> None:
    kept: dict[str, Tensor] = {}

    def keep(name: str, layer: int) -> Hook:
        return Hook(name.format(layer), lambda written: kept.update({name: written.clone()}))

    batch = each.batch(each.kinds[-1])
    for layer in layers_of(each):
        names = [
            "blocks.{}.hook_in",
            "blocks.{}.hook_out",
            "blocks.{}.hook_attn_out",
            "blocks.{}.hook_mlp_out",
        ]
        with torch.inference_mode(), hooked(each.model, [keep(name, layer) for name in names]):
            each.model.hf(**batch.inputs, use_cache=False)
        before, after, attention, mlp = (kept[name] for name in names)
        assert difference(before + attention + mlp, after) <= EXACT
        assert min(difference(attention, 0 * before + 1), difference(mlp, 0 * before + 1)) > 0.1


def test_a_model_whose_parts_do_not_add_up_is_told_of() -> None:
    of = subject("llava", "float32")
    batch = of.batch("words")
    require_parts_add_up(of.model, batch, range(LAYERS))
    wrong = {"mlp": ModulePath("input_layernorm", at_input=False)}
    vars(of.model)["parts"] = {**of.model.parts, **wrong}
    with pytest.raises(
        ModelError, match=r"block 0 of model .* adds something other than its attention and MLP"
    ):
        require_parts_add_up(of.model, batch, range(LAYERS))


def zeroed(of: Subject, layer: int, kind: str, at: Tensor) -> Any:
    """The same edit by PyTorch's own hooks on the bare model, its modules found by their names."""
    block = of.blocks[layer]
    if kind == "block":
        came: list[Tensor] = []
        handle = block.register_forward_pre_hook(lambda _, given: came.append(given[0]))
        return [handle, hook_of(block, lambda written: torch.where(at, came[-1], written))]
    if kind == "head":
        width = block.self_attn.o_proj.in_features // 2

        def without(module: Any, given: Any) -> Any:
            z = given[0].clone()
            z[..., width:] = torch.where(at, 0.0, z[..., width:])
            return (z,)

        return [block.self_attn.o_proj.register_forward_pre_hook(without)]
    module = getattr(block, AFTER.get((of.family, kind), {"attention": "self_attn", "mlp": "mlp"}[kind]))
    return [hook_of(module, lambda written: torch.where(at.flatten(0, 3 - written.ndim), 0.0, written))]


def hook_of(module: Any, change: Any) -> Any:
    def call(module: Any, inputs: Any, output: Any) -> Any:
        return change(output) if isinstance(output, Tensor) else (change(output[0]), *output[1:])

    return module.register_forward_hook(call)


AFTER = {
    ("gemma3", "attention"): "post_attention_layernorm",
    ("gemma3", "mlp"): "post_feedforward_layernorm",
    ("glm4v", "attention"): "post_self_attn_layernorm",
    ("glm4v", "mlp"): "post_mlp_layernorm",
    ("llama4", "mlp"): "feed_forward",
}
SEEING = ["llava", "qwen2_5_vl", "qwen3_vl", "gemma3", "glm4v", "idefics3"]
EXPERTS = ["qwen3_moe", "qwen3_vl_moe", "llama4", "gpt_oss"]
KINDS: tuple[ComponentKind, ...] = ("attention", "mlp", "head", "block")


@pytest.mark.parametrize("positions", ["last", "all"])
@pytest.mark.parametrize("each", [*SEEING, *EXPERTS], indirect=True)
def test_an_ablation_is_that_of_a_raw_hook(positions: Positions, each: Subject) -> None:
    batch = each.batch(each.kinds[-1])
    at = batch.at(positions)[..., None]
    with torch.inference_mode():
        plain = each.bare(**batch.inputs, use_cache=False).logits[:, -1]
    for layer in range(LAYERS):
        for kind in KINDS:
            component = Component(kind, 1 if kind == "head" else -1)
            width = 16 if kind == "head" else WIDTH
            edit = Ablation(Site((layer,), positions), component, Constant({layer: torch.zeros(width)}))
            found = run(each.model, batch, (), [edit]).logits
            handles = zeroed(each, layer, kind, at)
            with torch.inference_mode():
                expected = each.bare(**batch.inputs, use_cache=False).logits[:, -1]
            for handle in handles:
                handle.remove()
            assert difference(found, expected) <= EXACT
            assert difference(expected, plain) > 1e-3  # the edit does something


@every_family
def test_what_is_put_back_in_its_own_place_changes_no_bit(each: Subject) -> None:
    batch = each.batch(each.kinds[-1])
    plain = run(each.model, batch, range(LAYERS))
    axes = torch.nn.functional.normalize(torch.randn(LAYERS, WIDTH), dim=-1)
    components = [Component(kind, 0 if kind == "head" else -1) for kind in KINDS]
    for component in [*components, Component("state"), Component("direction", axes=axes)]:
        found = read_component(each.model, batch, component, layers_of(each), "all")
        edit = Ablation(Site(tuple(layers_of(each)), "all"), component, Kept(found))
        same = run(each.model, batch, range(LAYERS), [edit])
        assert torch.equal(same.states, plain.states) and torch.equal(same.logits, plain.logits)
        other = run(each.model, batch, range(LAYERS), [replace(edit, replacement=Kept(found, 1.5))])
        assert difference(other.states, plain.states) > 1e-3


@dataclass(frozen=True, eq=False)
class Kept:
    """What a component was seen to write, times a factor."""

    values: Mapping[int, Slots]
    factor: float = 1.0
    identity: str = "kept"

    def slots(self, model: Any, batch: Any, component: Any, site: Site) -> Mapping[int, Slots]:  # noqa: ARG002
        return {
            layer: [each * self.factor for each in self.values[layer]]
            if self.factor != 1
            else self.values[layer]
            for layer in site.layers
        }


@every_family
def test_versions_side_by_side_are_passes_of_their_own(each: Subject) -> None:
    for kind in each.kinds:
        batch = each.batch(kind)
        assert packs_versions(each.model, prefill(each.model, batch)) is each.model.one_token_passes
        vector = torch.linspace(-1, 1, WIDTH, dtype=torch.float64)[None]
        edits = [
            Shift(Site((layer,)), vector, strength, "D")
            for layer in range(LAYERS)
            for strength in (1.0, -2.0)
        ]
        directions = torch.nn.functional.normalize(vector, dim=-1).expand(LAYERS, -1)
        hooks = [[], *(edit.hooks(each.model, batch) for edit in edits)]
        found = list(run_versions(each.model, batch, hooks, range(LAYERS), directions, at_once=9))
        logits = torch.cat([one.logits for one in found])
        coordinates = torch.cat([one.coordinates for one in found])
        for place, listed in enumerate([[], *([edit] for edit in edits)]):
            seen = run(each.model, batch, range(LAYERS), listed)
            z = torch.einsum("pld,ld->pl", seen.states.double(), directions)
            assert (
                difference(coordinates[place], z) <= 1e-4 and difference(logits[place], seen.logits) <= 1e-4
            )
        assert difference(logits[1], logits[0]) > 1e-2


@every_family
def test_what_heads_read_adds_up_to_their_output_or_is_said_to_be_unknown(each: Subject) -> None:
    """Sinks, soft caps, windows and shared keys included; `heads_reading` compares the sum with the output."""
    batch, layers = each.batch(each.kinds[-1]), layers_of(each)
    if not each.model.one_token_passes:
        with pytest.raises(ModelError, match="what its heads read cannot be told apart"):
            heads_reading(each.model, batch, layers)
        return
    for reading in heads_reading(each.model, batch, layers).values():
        mass = reading.mass(batch.real.cpu())
        assert reading.weights.shape[2] == batch.columns and bool((mass < 1 + 1e-4).all())
        assert float(mass.min()) > 0
