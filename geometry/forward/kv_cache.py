"""KV caches that several passes continue from: whether one can be put back to what it was before a pass."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

Kind = frozenset[tuple[str, bool]]
_FOUND: "WeakKeyDictionary[torch.nn.Module, dict[Kind, bool]]" = WeakKeyDictionary()


def can_be_cropped(cache: Any) -> bool:
    """Return True if a KV cache says that tokens which a pass adds can be removed; False for static and recurrent
    ones."""
    return bool(getattr(cache, "is_croppable", not getattr(cache, "is_compileable", True)))


def record_windows(cache: Any) -> None:
    """Make the sliding windows of a KV cache keep what they drop, so that they can be restored."""
    if hasattr(cache, "activate_past_recording"):
        cache.activate_past_recording()


def comes_back(hf: torch.nn.Module, cache: Any, once: Callable[[], Tensor]) -> bool:
    """Return True if a KV cache is put back by `once`: a pass that continues from it, returns logits and crops it.

    Two equal passes must give equal logits, but for rounding. This is tested once for each kind of cache of a model:
    layers with a recurrent state, or sliding windows that are full, may keep a trace of the first pass.
    """
    known, kind = _FOUND.setdefault(hf, {}), _kind(cache)
    if not can_be_cropped(cache):
        known[kind] = False
    elif kind not in known:
        try:
            first, second = once().float(), once().float()
        except (ValueError, AttributeError, NotImplementedError, TypeError):
            known[kind] = False  # some caches find out only in `crop` that they cannot be put back
        else:
            rounded = 1e-5 if _precise(hf) else 1e-2
            off = float((first - second).abs().max())
            known[kind] = off <= rounded * float(first.abs().max())  # False for logits that are not finite
    return known[kind]


def never_comes_back(hf: torch.nn.Module) -> bool:
    """Return True if a KV cache of this model could not be put back before."""
    return not all(_FOUND.get(hf, {}).values())


def _precise(hf: Any) -> bool:
    return torch.finfo(hf.dtype).eps < 1e-5


def _kind(cache: Any) -> Kind:
    """Return the kinds of layers of a cache, each with whether its sliding window is full."""
    layers = getattr(cache, "layers", ())
    return frozenset((type(layer).__name__, _is_full(layer)) for layer in layers) or frozenset(
        [(type(cache).__name__, False)]
    )


def _is_full(layer: Any) -> bool:
    return bool(getattr(layer, "is_sliding", False)) and layer.get_seq_length() >= layer.sliding_window
