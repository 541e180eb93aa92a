"""Residual streams at every token, without padding."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ModelError, PairError
from regap.geometry.data.pairs import Pair
from regap.geometry.forward.batches import run_batches
from regap.geometry.forward.finite import check_finite, under
from regap.geometry.forward.hooks import Edit, Hook, PassEnds, ends_after, hooked
from regap.geometry.forward.image_features import seen_inputs
from regap.geometry.forward.runner import Runner
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.lengths import prompt_lengths
from regap.geometry.states.activations import StateRow
from regap.geometry.states.token_states import Role, Token, TokenStates


def capture_every_token(
    runner: Runner, pairs: Sequence[Pair], arm: str, layers: tuple[int, ...], edits: Sequence[Edit] = ()
) -> TokenStates:
    """Return the residual streams of these pairs in an arm, at every token, after each of these blocks.

    Raises PairError, before the model is run, if they take more memory than the runner's limits allow.
    """
    model, prompts = runner.model, [pair.prompts[arm] for pair in pairs]
    needed = 4 * sum(prompt_lengths(model, prompts)) * len(layers) * model.width
    if needed > runner.limits.bytes_in_memory:
        raise PairError(
            f"arm {arm}: the states of every token of {len(pairs)} prompts at {len(layers)} layers take "
            f"{needed / 2**30:.1f} GB, over the limit of {runner.limits.bytes_in_memory / 2**30:.1f}; capture fewer "
            "layers or pairs, or raise Limits(bytes_in_memory=...)"
        )
    states: dict[int, Tensor] = {}
    tokens: dict[int, tuple[Token, ...]] = {}

    def read(batch: Batch) -> None:
        found = _read(model, batch, layers, edits)
        for place, row in enumerate(batch.rows):
            real = batch.real[place].cpu()
            states[row] = found[place, real].to(torch.float32)
            check_finite(model.name, states[row], under(edits))
        tokens.update(zip(batch.rows, named_tokens(model, batch), strict=True))

    advance = runner.track(f"states of every token, {model.name}", len(prompts))
    run_batches(model, prompts, runner.limits.prompts, runner.limits.tokens, read, advance)
    order = range(len(prompts))
    return TokenStates(
        tuple(states[row] for row in order),
        tuple(tokens[row] for row in order),
        tuple(StateRow.of(pair) for pair in pairs),
        arm,
        layers,
        model.fingerprint,
        tuple(edit.identity for edit in edits),
    )


@torch.inference_mode()
def _read(model: Model, batch: Batch, layers: tuple[int, ...], edits: Sequence[Edit]) -> Tensor:
    """Return the states [prompt, token, layer, d_model] of a full pass, on the CPU."""
    kept: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[Tensor], None]:
        def call(residual: Tensor) -> None:
            kept[layer] = residual.detach().to("cpu", copy=True)

        return call

    hooks = [hook for edit in edits for hook in edit.hooks(model, batch)]
    readers = [Hook(model.hook_name(layer), keep(layer)) for layer in dict.fromkeys(layers)]
    with hooked(model, [*hooks, *readers]):
        model.hf.base_model(**seen_inputs(model, batch), use_cache=False)
    return torch.stack([kept[layer] for layer in layers], 2)


@torch.inference_mode()
def states_after(model: Model, batch: Batch, layer: int) -> Float[Tensor, "prompt token d_model"]:
    """Return the unedited states of all tokens after a block, on their device; they are read once per batch."""
    name = f"{model.fingerprint} states of all tokens after {layer}"
    if name not in batch.kept:
        found: list[Tensor] = []
        read = Hook(model.hook_name(layer), lambda residual: found.append(residual.clone()))
        with suppress(PassEnds), hooked(model, [read, ends_after(model, layer)]):
            model.hf.base_model(**seen_inputs(model, batch), use_cache=False)
        batch.kept[name] = found[0]
    return batch.kept[name]


def named_tokens(model: Model, batch: Batch) -> list[tuple[Token, ...]]:
    """Return the tokens of each prompt, padding left out, with their roles."""
    masks: dict[Role, Tensor] = {"image": batch.image, "audio": batch.audio}
    try:
        masks |= {"request": batch.request, "template": batch.template, "earlier": batch.earlier}
        masks["system"] = torch.ones_like(batch.image)  # all other tokens
    except ModelError:  # a slow tokenizer does not say which characters its tokens stand for
        masks["unknown"] = torch.ones_like(batch.image)
    found = []
    for place in range(len(batch)):
        columns = batch.real[place].nonzero()[:, 0].tolist()
        texts = model.tokenizer.convert_ids_to_tokens(batch.inputs["input_ids"][place, columns].tolist())
        roles: list[Role] = [
            next(role for role, mask in masks.items() if bool(mask[place, at])) for at in columns
        ]
        found.append(tuple(Token(str(text), role) for text, role in zip(texts, roles, strict=True)))
    return found
