"""Short tests of a plain model: whether an edit of a block changes its logits, and whether its KV cache comes back."""

from inspect import signature

import torch
from torch import Tensor

from regap.errors import ModelError, first_line
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.forward.kv_cache import comes_back, never_comes_back, record_windows
from regap.geometry.models.model import Model
from regap.geometry.models.stream import require_stream, two_tokens


@torch.no_grad()
def check_reaches_logits(model: Model) -> None:
    """Raise ModelError unless a change of a block's output changes the logits, tested with two tokens.

    A model that was already compiled, or that calls another module in its place, may run without our hooks.
    """
    asked = signature(model.decoder.forward).parameters
    if "cache_params" in asked and "past_key_values" not in asked:
        raise ModelError(
            f"model {model.name} keeps only a recurrent state, which does not say where an answer begins; "
            "edit it with generate(load(model, processor=...), ..., edits=...)"
        )
    tokens = two_tokens(model)
    seen: list[torch.Size] = []

    def change(residual: Tensor) -> Tensor:
        seen.append(residual.shape)
        noise = torch.linspace(-1, 1, residual.shape[-1], device=residual.device, dtype=residual.dtype)
        return residual + noise * residual.abs().mean().clamp_min(1e-2)

    layer = next(each for each in range(model.layers) if each not in model.crossing)
    try:
        before = model.hf(input_ids=tokens, use_cache=False).logits
        with hooked(model, [Hook(model.hook_name(layer), change)]):
            after = model.hf(input_ids=tokens, use_cache=False).logits
    except ModelError:
        raise
    except Exception as error:
        said = first_line(error)
        raise ModelError(
            f"model {model.name} cannot be run to test whether an edit reaches its logits ({said}); give the model "
            "itself, not compiled and not wrapped"
        ) from error
    if seen:
        require_stream(model, seen[0], tokens)
    if not seen or torch.equal(before, after):
        raise ModelError(
            f"an edit of block {layer} does not reach the logits of model {model.name}: it was compiled, or its work "
            "is done elsewhere; give the model itself, and compile it afterwards if at all"
        )


@torch.no_grad()
def reuses_cache(model: Model) -> bool:
    """Return True if passes can continue from one KV cache of the model again and again, tested with two tokens."""
    tokens = two_tokens(model)
    if not model.one_token_passes or never_comes_back(model.hf):
        return False
    # Without positions, models like Qwen-VL take the offsets of their last batch, of any size.
    counted = model.takes_positions or model.image_numbering is not None
    places = [{"position_ids": torch.full_like(tokens[:, :1], at)} if counted else {} for at in (0, 1)]
    try:
        cache = model.hf(input_ids=tokens[:, :1], use_cache=True, **places[0]).past_key_values
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return False  # it keeps another kind of state

    def once() -> Tensor:
        last = {"input_ids": tokens[:, 1:], "past_key_values": cache, **places[1]}
        logits = model.hf(**last, use_cache=True).logits
        cache.crop(-1)
        return logits

    record_windows(cache)
    return comes_back(model.hf, cache, once)
