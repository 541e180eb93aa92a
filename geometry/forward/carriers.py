"""The tokens of a position, also of one that takes a pass: the image tokens that carry the request.

The rules need no labels and read only unedited passes; all of them are our operationalisation. `attention`, `norm` and
`blank` score every image token and keep the better half of each prompt's; `ink` keeps those with ink.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.forward.attention_received import attention_received
from regap.geometry.forward.token_capture import states_after
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.chosen_tokens import strongest
from regap.geometry.prompts.ink import inked
from regap.geometry.prompts.positions import Position, Positions, Rule

SHARE = 0.5
"""The share of each prompt's image tokens that a score keeps, rounded up."""


def tokens_at(model: Model, batch: Batch, positions: Positions) -> Bool[Tensor, "prompt token"]:
    """Return True at the position; those of a rule are found by unedited passes, once per batch.

    Raises ModelError as `Batch.at` does, and if the rule cannot be followed on this model.
    """
    rule = Position.of(positions).rule
    return batch.at(positions) if rule is None else carriers(model, batch, rule)


def carriers(model: Model, batch: Batch, rule: Rule) -> Bool[Tensor, "prompt token"]:
    """Return the image tokens that carry the request by this rule; none in a prompt without an image.

    attention: by the attention weight from the last prompt token, mean over heads and over blocks with attention.
    norm: by the length of the state after the `middle` block.
    blank: by the distance of that state to the one of the same token if each picture is replaced by its background.
    ink: those whose pixels vary, as `regap.geometry.prompts.ink` says.
    """
    name = f"{model.fingerprint} image:{rule}"
    if name not in batch.kept:
        image = batch.image
        if rule == "ink":
            found = inked(model, batch)
        elif bool(image.any()):
            found = strongest(SCORES[rule](model, batch).to(image.device), image, SHARE)
        else:
            found = image
        batch.kept[name] = found
    return batch.kept[name]


def middle(model: Model) -> int:
    """Return the block whose output norm and blank read: the one at half the depth that is no cross-attention block.

    The decoder has read the words of an image there, and later blocks turn to the next token; our operationalisation.
    """
    return max(set(range(model.layers // 2 + 1)) - model.crossing)


def _norms(model: Model, batch: Batch) -> Float[Tensor, "prompt token"]:
    return states_after(model, batch, middle(model)).float().norm(dim=-1)


def _distances(model: Model, batch: Batch) -> Float[Tensor, "prompt token"]:
    if batch.blanked is None:
        raise ModelError("this batch was made without its prompts; make it with collate()")
    blank = batch.blanked()
    if not torch.equal(blank.inputs["input_ids"], batch.inputs["input_ids"]):
        raise ModelError(
            f"position image:blank: model {model.name} makes other tokens of a plain picture of the same size; choose "
            "image:norm or image:attention"
        )
    own, plain = (states_after(model, each, middle(model)).float() for each in (batch, blank))
    return (own - plain).norm(dim=-1)


SCORES: dict[Rule, Callable[[Model, Batch], Tensor]] = {
    "attention": attention_received,
    "norm": _norms,
    "blank": _distances,
}
"""What each rule compares image tokens by, [prompt, token]; the greater, the sooner it is kept."""
