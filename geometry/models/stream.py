"""A short pass that shows whether the blocks of a model carry one residual stream of [prompt, token, d_model]."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.models.model import Model


class _Seen(Exception):
    """Ends the pass once a block has been seen."""


@torch.no_grad()
def check_stream(model: Model) -> None:
    """Raise ModelError if blocks hold anything but one vector of the model's width for each token.

    Two tokens run through the first block only. A model that cannot run them is not tested.
    """
    tokens = two_tokens(model)
    seen: list[tuple[int, ...]] = []

    def look(block: Any, args: Any, output: Any) -> None:  # noqa: ARG001 - PyTorch passes all three
        written = output[0] if isinstance(output, tuple) else output
        seen.append(tuple(written.shape))
        raise _Seen

    first = next(layer for layer in range(model.layers) if layer not in model.crossing)
    handle = model.blocks[first].register_forward_hook(look)
    try:
        model.hf.base_model(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False)
    except (
        Exception
    ):  # _Seen; or a model that needs more than tokens, whose passes are tested by `regap doctor`
        pass
    finally:
        handle.remove()
    if seen:
        require_stream(model, seen[0], tokens)


def require_stream(model: Model, shape: Sequence[int], tokens: Tensor) -> None:
    """Raise ModelError unless what a block wrote for these tokens has the shape of one residual stream."""
    if tuple(shape) != (*tokens.shape, model.width):
        raise ModelError(
            f"model {model.name}: its blocks hold {list(shape)} for {tokens.shape[1]} tokens of width {model.width}, "
            "and not one residual stream of [prompt, token, d_model], so that its states cannot be read or edited; "
            "choose another model"
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
