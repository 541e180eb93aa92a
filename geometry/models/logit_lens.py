"""What the model would write if its last block were an earlier one: states read through its own norm and head."""

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.models.loading import Model


@torch.inference_mode()
def logits_of(model: Model, states: Float[Tensor, "prompt d_model"]) -> Float[Tensor, "prompt token_id"]:
    """Return W_U norm(h), float32 on the CPU: of states after the last block, the model's own logits.

    Soft caps on logits, which some models have, are not applied. Raises ModelError for a model without a head.
    """
    head = model.hf.get_output_embeddings()
    if head is None:
        raise ModelError(
            f"model {model.name} has no output embedding; methods that read tokens off states need one"
        )
    weight = next(head.parameters())
    inputs = states.to(weight.device, weight.dtype)
    norm = getattr(model.bridge, "ln_final", None)
    return head(inputs if norm is None else norm(inputs)).float().cpu()
