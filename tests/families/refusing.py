"""A tiny model that refuses: its head is fitted so that harmful texts, and they alone, open with a word of refusal."""

from pathlib import Path
from typing import Any

import torch
from tiny_models import FAMILIES
from tiny_parts import awake

from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.capture import capture
from regap.geometry.models.loading import load

REFUSAL = "sorry"
"""One token of its own, so that one step writes it."""
STEEP = 40.0
"""How far its logit lies above 0 at harmful texts, and below it at harmless ones."""


def save(made: Any, folder: Path) -> Path:
    """Write a checkpoint folder."""
    made.model.save_pretrained(folder)
    made.processor.save_pretrained(folder)
    return folder


def refusing(family: str, pairs: Pairs, folder: Path) -> Path:
    """Return the folder of a model of the family that refuses the harmful texts among these pairs.

    The row of the refusal token is the least-squares solution on normed last states: +STEEP at harmful texts, -STEEP at
    harmless ones. What it does to images follows from its random weights.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = FAMILIES[family]()
    made.processor.tokenizer.add_tokens([REFUSAL])
    made.model.resize_token_embeddings(len(made.processor.tokenizer), mean_resizing=False)
    made.model.config.get_text_config().max_position_embeddings = 2048  # a warning is long in bytes
    awake(made.model)
    model = load(save(made, folder))
    seen = capture(model, pairs, ["text"])["text"]
    with torch.inference_mode():
        norm: Any = model.bridge.ln_final
        states = norm(seen.at(model.layers - 1)).double()
    wanted = torch.where(seen.harmful, STEEP, -STEEP).double()
    row = torch.linalg.lstsq(states, wanted[:, None]).solution[:, 0]
    token = made.processor.tokenizer.convert_tokens_to_ids(REFUSAL)
    with torch.no_grad():
        made.model.get_output_embeddings().weight[token] = row.float()
    return save(made, folder)
