"""Many versions of the last prompt token in one pass, over the same prompt and without attending to one another.

A one-token pass reads the keys and values of the whole prompt for one token. Here the last token is repeated after the
prompt; each copy has the same position, attends only to the prompt and itself, and has hooks of its own. Linear layers
then work on many tokens at once, and nothing of the prompt is copied per version.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.forward.finite import check_finite
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.forward.prefix import Prefix, borrowed, prefill, run_last_token
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch

AT_ONCE = 1024
"""Most tokens in one pass (prompts times versions); the logits of all of them are in memory."""
TRIED = 4
"""Number of versions in the pass that tests whether a model keeps them independent."""
_PACKS: "WeakKeyDictionary[Model, bool]" = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class ParallelPasses:
    """Results of some versions of the last token, each under its own hooks."""

    places: range
    """Indices of these versions among those asked for."""
    coordinates: Float[Tensor, "version prompt layer"] = field(repr=False)
    """Coordinates along one direction at each layer asked for; float64, on the CPU."""
    logits: Float[Tensor, "version prompt token_id"] = field(repr=False)
    """Next-token logits, float32, on the CPU."""


def run_versions(
    model: Model,
    batch: Batch,
    versions: Sequence[Sequence[Hook]],
    layers: Sequence[int],
    directions: Float[Tensor, "layer d_model"],
    at_once: int = AT_ONCE,
    prefix: Prefix | None = None,
) -> Iterator[ParallelPasses]:
    """Yield the results of a one-token pass under each list of hooks, with at most `at_once` tokens in one pass.

    Passes continue from `prefix`, by default from the unedited prompts. Hooks may edit only the last token; a hook
    receives that token of every prompt. A model that does not keep the versions independent runs them one by one; this
    is tested once per model, before anything is returned.
    """
    prefix = prefill(model, batch) if prefix is None else prefix
    packs = packs_versions(model, prefix)
    size = max(1, at_once // len(batch)) if packs else 1
    for start in range(0, len(versions), size):
        some = versions[start : start + size]
        places = range(start, start + len(some))
        if packs:
            yield _run_packed(model, prefix, some, places, layers, directions)
        else:
            seen = run_last_token(model, prefix, layers, some[0])
            coordinates = torch.einsum("pld,ld->pl", seen.states.double(), directions)
            yield ParallelPasses(places, coordinates[None], seen.logits[None])


def packs_versions(model: Model, prefix: Prefix) -> bool:
    """Return True if versions in one pass give the same logits as a single one; tested once for each model."""
    ours = model.hf.config._attn_implementation in ("sdpa", "eager")  # others do not take our mask
    if prefix.cache is None or prefix.positions is None or not ours:
        return False  # without position ids, versions would stand one after the other
    if model not in _PACKS:
        none = torch.empty(0, model.width)
        alone = run_last_token(model, prefix, ()).logits
        packed = _run_packed(model, prefix, [[]] * TRIED, range(TRIED), (), none).logits
        precise = torch.finfo(model.hf.dtype).eps < 1e-5
        _PACKS[model] = float((packed - alone).abs().max() / alone.abs().max()) < (1e-4 if precise else 3e-2)
    return _PACKS[model]


@torch.inference_mode()
def _run_packed(
    model: Model,
    prefix: Prefix,
    versions: Sequence[Sequence[Hook]],
    places: range,
    layers: Sequence[int],
    directions: Float[Tensor, "layer d_model"],
) -> ParallelPasses:
    count, ids = len(versions), prefix.batch.inputs["input_ids"]
    positions: Any = prefix.positions  # known, or versions would not be packed
    reader = _Reader(model, layers, directions)
    hooks = [*side_by_side(versions), *reader.hooks]
    with borrowed(model, prefix), hooked(model, hooks):
        output = model.hf(
            input_ids=ids[:, -1:].expand(-1, count),
            attention_mask=_mask(model, prefix, count),
            position_ids=positions.expand(*positions.shape[:-1], count),
            past_key_values=prefix.cache,
            use_cache=True,
            logits_to_keep=count,
        )
    logits = output.logits[:, -count:].float().cpu().transpose(0, 1)
    check_finite(model.name, logits.amax(-1), "under its hooks", "logits")
    return ParallelPasses(places, reader.coordinates(len(ids), count), logits)


def side_by_side(versions: Sequence[Sequence[Hook]]) -> list[Hook]:
    """Return one hook for each point, which passes each version's own token to that version's hooks."""
    at: dict[str, list[tuple[int, Hook]]] = {}
    for place, hooks in enumerate(versions):
        for hook in hooks:
            at.setdefault(hook.name, []).append((place, hook))
    return [Hook(name, _apart(found)) for name, found in at.items()]


def _apart(hooks: Sequence[tuple[int, Hook]]) -> Callable[[Tensor], Tensor | None]:
    def call(residual: Tensor) -> Tensor | None:
        changed: dict[int, Tensor] = {}
        for place, hook in hooks:
            found = hook.function(changed.get(place, residual[:, place : place + 1]))
            if found is not None:
                changed[place] = found
        if not changed:
            return None
        moved = residual.clone()
        moved[:, list(changed)] = torch.cat(list(changed.values()), 1)
        return moved

    return call


def _mask(model: Model, prefix: Prefix, count: int) -> Any:
    """Return what each version may attend to, added to attention scores: the prompt's real tokens and itself."""
    real = prefix.batch.real[:, :-1]
    prompts, length = real.shape
    allowed = torch.zeros(prompts, 1, count, length + count, dtype=torch.bool, device=real.device)
    allowed[..., :length] = real[:, None, None]
    allowed[..., length:] = torch.eye(count, dtype=torch.bool, device=real.device)
    least = torch.finfo(model.hf.dtype).min
    mask = torch.zeros(allowed.shape, dtype=model.hf.dtype, device=real.device).masked_fill(~allowed, least)
    kinds = {
        _slides(layer): min(length, layer.sliding_window - 1) if _slides(layer) else length
        for layer in prefix.cache.layers
    }
    by_kind = {kind: mask[..., length - kept :] for kind, kept in kinds.items()}
    if len(by_kind) == 1:
        return next(iter(by_kind.values()))
    return {"full_attention": by_kind[False], "sliding_attention": by_kind[True]}


def _slides(layer: Any) -> bool:
    """Return True if these keys and values belong to a layer with sliding-window attention."""
    return bool(getattr(layer, "is_sliding", False))


class _Reader:
    """Keeps one coordinate of every version at some layers while a pass runs."""

    def __init__(self, model: Model, layers: Sequence[int], directions: Float[Tensor, "layer d_model"]):
        self.kept: list[Tensor | None] = [None] * len(layers)
        self.hooks = [
            Hook(model.hook_name(layer), self._keep(place, direction))
            for place, (layer, direction) in enumerate(zip(layers, directions, strict=True))
        ]

    def _keep(self, place: int, direction: Tensor) -> Callable[[Tensor], None]:
        def keep(residual: Tensor) -> None:
            self.kept[place] = residual.double() @ direction.to(residual.device, torch.float64)

        return keep

    def coordinates(self, prompts: int, count: int) -> Float[Tensor, "version prompt layer"]:
        if not self.kept:
            return torch.empty(count, prompts, 0, dtype=torch.float64)
        read = [each.cpu() for each in self.kept if each is not None]
        return torch.stack(read, -1).transpose(0, 1)
