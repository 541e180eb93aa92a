"""A short test that an edit of a block changes the logits of a model."""

import torch
from torch import Tensor

from regap.errors import ModelError, first_line
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.models.model import Model


@torch.no_grad()
def check_reaches_logits(model: Model) -> None:
    """Raise ModelError unless a change of a block's output changes the logits, tested with two tokens.

    A model that was already compiled, or that calls another module in its place, may run without our hooks.
    """
    tokens = two_tokens(model)
    seen: list[int] = []

    def change(residual: Tensor) -> Tensor:
        seen.append(1)
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
    if not seen or torch.equal(before, after):
        raise ModelError(
            f"an edit of block {layer} does not reach the logits of model {model.name}: it was compiled, or its work "
            "is done elsewhere; give the model itself, and compile it afterwards if at all"
        )


def two_tokens(model: Model) -> Tensor:
    """Return two ordinary tokens: neither special nor image tokens."""
    configs = [model.hf.config, model.hf.config.get_text_config()]
    special = {
        value
        for config in configs
        for name, value in config.to_dict().items()
        if name.endswith(("token_id", "token_index")) and isinstance(value, int)
    }
    chosen = next(token for token in range(10, 10 + len(special) + 1) if token not in special)
    device = next((each.device for each in model.hf.parameters() if each.device.type != "meta"), None)
    return torch.full((1, 2), chosen, dtype=torch.long, device=device)
