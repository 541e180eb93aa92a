"""Check that the hooks of attention, MLP and heads read and write what their names say, under both sets of hooks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.forward.prefix import run
from regap.geometry.models.component_map import Submodule, parts_of_blocks
from regap.geometry.models.loading import with_all_hooks
from regap.geometry.models.model import Model
from regap.geometry.models.submodule_hooks import part_name
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site

Kind = Literal["text", "image", "sound"]
TOLERANCE = 1e-3
"""Largest difference allowed for rounding, relative to the largest value; 50 times that in 16 bits."""


@dataclass(frozen=True)
class Check:
    """One check, whether it passed, and what was measured."""

    name: str
    passed: bool
    detail: str
    noted: bool = False
    """True for a fact to keep in mind, although nothing is wrong."""


def same(name: str, one: Tensor, other: Tensor) -> Check:
    """Return a check that two answers are equal token for token."""
    equal = torch.equal(one, other)
    return Check(name, equal, f"{one.numel()} tokens equal" if equal else "tokens differ")


def close(model: Model, name: str, one: Tensor, other: Tensor) -> Check:
    """Return a check that two results of a model differ only by rounding."""
    if one.shape != other.shape:
        return Check(name, False, f"shapes are {list(one.shape)} and {list(other.shape)}")
    largest = float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))
    allowed = TOLERANCE if model.hf.dtype == torch.float32 else 50 * TOLERANCE
    return Check(
        name, largest <= allowed, f"largest relative difference {largest:.1e}, allowed {allowed:.0e}"
    )


def check_parts(model: Model, batch: Batch, kind: Kind) -> Iterator[Check]:
    """Yield checks that attention, MLP and heads were identified correctly."""
    layers = [layer for layer in range(model.layers) if layer not in model.crossing]
    name = f"{kind}: attention and MLP add up to what each block adds"
    try:
        before, attention, mlp, after = (_read(model, batch, each) for each in _names(model, layers))
    except ModelError as error:
        yield Check(name, True, f"their ablation is refused: {error}")
        return
    adds_up = close(model, name, before + attention + mlp, after)
    beside = _beside_attention_and_mlp(model, layers[0])
    if not adds_up.passed and beside:
        told = f"their ablation is refused: blocks also write through {', '.join(beside)}"
        yield Check(name, True, told, noted=True)
        return
    yield adds_up
    middle = [layers[len(layers) // 2]]
    names = [each[0] for each in _names(model, middle)]
    into, added, _, out = (
        torch.cat(_read(model, batch, [each], [Hook(names[2], torch.zeros_like)]).unbind(0)) for each in names
    )
    yield close(model, f"{kind}: without its MLP a block adds what its attention writes", into + added, out)
    name = f"{kind}: without its heads attention writes the same at every token"
    try:
        heads = Hook(part_name(model, "heads", middle[0]), torch.zeros_like)
        silent = _read(model, batch, [names[1]], [heads])[0][batch.real]
    except ModelError as error:
        yield Check(name, True, f"ablation of heads is refused: {error}")
        return
    scale = attention.abs().max().clamp_min(1e-12)
    yield close(model, name, silent / scale + 1, (silent[:1] / scale + 1).expand_as(silent))


def _beside_attention_and_mlp(model: Model, layer: int) -> list[str]:
    """Return the modules of a block that have matrices and are neither its attention nor its MLP."""
    known = {place.path.partition(".")[0] for place in parts_of_blocks(model.hf).values()}
    return [
        name
        for name, module in model.blocks[layer].named_children()
        if name not in known and any(each.ndim > 1 for each in module.parameters())
    ]


def check_all_hooks(model: Model, full: Model, batch: Batch, kind: Kind) -> Iterator[Check]:
    """Yield checks that a model computes, reads and writes the same under all hooks as under those of its blocks."""
    every = range(model.layers)
    plain, same = run(model, batch, every), run(full, batch, every)
    yield close(full, f"{kind}, all hooks: logits equal those of hooks='blocks'", same.logits, plain.logits)
    yield close(full, f"{kind}, all hooks: residuals are equal too", same.states, plain.states)
    # Half of the mean: the whole could leave nothing but rounding, which the next norm would enlarge.
    shift = Shift(Site((0,), "all"), plain.states[:, :1].mean(0).double(), 0.5, "mean")
    edited, expected = run(full, batch, every, [shift]), run(model, batch, every, [shift])
    yield close(full, f"{kind}, all hooks: an edit has the same effect", edited.logits, expected.logits)
    for part in get_args(Submodule):
        names = [part_name(model, part, layer) for layer in every]
        shown = names[0].partition(".")[2].partition(".")[2]
        name = f"{kind}, all hooks: {shown} reads the same"
        try:
            found, fast = (
                torch.cat([one[batch.real].flatten() for one in _kept(each, batch, names)])
                for each in (full, model)
            )
        except ModelError as error:
            yield Check(name, True, f"not known with hooks='blocks': {error}")
            continue
        yield close(full, name, found, fast)


@torch.inference_mode()
def check_patterns(full: Model, batch: Batch, kind: Kind) -> Iterator[Check]:
    """Yield a check that TransformerLens' `run_with_cache` returns attention weights of every block."""
    others: dict[str, Any] = {name: value for name, value in batch.inputs.items() if name != "input_ids"}
    _, cache = full.bridge.run_with_cache(batch.inputs["input_ids"], **others)
    kinds = getattr(full.hf.config.get_text_config(), "layer_types", None) or ["attention"] * full.layers
    names = [
        f"blocks.{layer}.attn.hook_pattern" for layer, kind in enumerate(kinds) if kind != "linear_attention"
    ]
    title = f"{kind}, all hooks: run_with_cache returns attention patterns"
    if not names:
        yield Check(title, True, "not for this model: no block has attention")
        return
    found = [cache[name][:, :, -1].float().sum(-1) for name in names if name in cache]
    sums = torch.stack(found) if found else torch.zeros(1)
    right = len(found) == len(names) and bool((sums > 0).all() and (sums < 1.02).all())
    shown = f"the last token's weights sum to {float(sums.min()):.2f} to {float(sums.max()):.2f}"
    yield Check(title, right, f"{len(found)} of {len(names)} blocks; {shown}")


def full_model(model: Model) -> Model | ModelError:
    """Return the model under all hooks, with shared weights; or the error if it has none."""
    try:
        return model if model.hooks == "all" else with_all_hooks(model)
    except ModelError as error:
        return error


def _names(model: Model, layers: Sequence[int]) -> list[list[str]]:
    attention = [part_name(model, "attention", layer) for layer in layers]
    mlp = [part_name(model, "mlp", layer) for layer in layers]
    before = [f"blocks.{layer}.hook_in" for layer in layers]
    return [before, attention, mlp, [f"blocks.{layer}.hook_out" for layer in layers]]


def _read(model: Model, batch: Batch, names: Sequence[str], hooks: Sequence[Hook] = ()) -> Tensor:
    """Return the states at these hooks [hook, prompt, token, width], under other hooks."""
    return torch.stack(_kept(model, batch, names, hooks))


@torch.inference_mode()
def _kept(model: Model, batch: Batch, names: Sequence[str], hooks: Sequence[Hook] = ()) -> list[Tensor]:
    """Return the states at each hook [prompt, token, width], all from one pass; widths may differ."""
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Hook:
        return Hook(name, lambda written: kept.update({name: written.float().cpu().clone()}))

    with hooked(model, [*hooks, *map(keep, names)]):
        model.hf(**batch.inputs, use_cache=False)
    return [kept[name] for name in names]
