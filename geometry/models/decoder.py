"""Find the decoder of a Hugging Face model: the blocks that write the residual stream."""

from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch

from regap.errors import ModelError


@dataclass(frozen=True)
class Decoder:
    """The dotted names of the modules that write and read the residual stream."""

    embedding: str
    """The token embedding."""
    blocks: str
    """The list of decoder blocks."""
    norm: str | None
    """The norm after the last block, None if there is none beside the blocks."""
    head: str | None
    """The output embedding, which makes logits; None if the model has none."""


def find_decoder(model: torch.nn.Module) -> Decoder:
    """Return the decoder's modules; its blocks are the list of blocks beside the token embedding."""
    name = type(model).__name__
    named = {module: path for path, module in model.named_modules()}
    embedding = _module(model, "get_input_embeddings")
    if embedding not in named:
        raise ModelError(
            f"model {name}: it names no input embedding; give the model itself, one that reads tokens"
        )
    if any(kind.__module__.partition(".")[0] == "transformer_lens" for kind in type(embedding).__mro__):
        raise ModelError(f"model {name} is under hooks already; use what load() returned, or a fresh copy")
    owner = named[embedding].rpartition(".")[0]
    beside = dict(model.get_submodule(owner).named_children())
    lists = {child: blocks for child, blocks in beside.items() if isinstance(blocks, torch.nn.ModuleList)}
    found = [child for child, blocks in lists.items() if _carries_the_stream(blocks)]
    if len(found) != 1:
        raise ModelError(
            f"model {name}: {len(found) or 'no'} lists of blocks that take hidden_states are beside its embedding "
            f"{named[embedding]} (there: {', '.join(beside)}); give a decoder of the usual Hugging Face layout"
        )
    norms = [child for child, module in beside.items() if "norm" in type(module).__name__.lower()]
    prefix = f"{owner}." if owner else ""
    return Decoder(
        named[embedding],
        prefix + found[0],
        prefix + norms[-1] if norms else None,
        named.get(_module(model, "get_output_embeddings")),  # type: ignore[arg-type]
    )


def check_not_compiled(model: torch.nn.Module, *, itself: bool = True) -> None:
    """Raise ModelError if the model, a block, or what runs the blocks was compiled: hooks would not run, or be old.

    `itself=False` leaves out the model's own `forward` and call.
    """
    steps = find_decoder(model).blocks.split(".")
    above = {".".join(steps[:depth]) for depth in range(0 if itself else 1, len(steps) + 1)}
    blocks = {f"{'.'.join(steps)}.{place}" for place in range(len(model.get_submodule(".".join(steps))))}  # type: ignore[arg-type]
    for path in sorted(above | blocks):
        module = model.get_submodule(path)
        if module._compiled_call_impl is not None or (path in above and _is_compiled(module.forward)):
            raise ModelError(
                f"{path or 'the model'} of {type(model).__name__} was compiled, so that an edit of a block does not "
                "reach the logits; give the model as it was, and compile the whole of it afterwards if at all"
            )


def _is_compiled(function: object) -> bool:
    return hasattr(function, "_torchdynamo_orig_callable") and not hasattr(function, "_torchdynamo_disable")


def _carries_the_stream(blocks: torch.nn.ModuleList) -> bool:
    return len(blocks) > 0 and all("hidden_states" in signature(block.forward).parameters for block in blocks)


def _module(model: Any, method: str) -> torch.nn.Module | None:
    try:
        return getattr(model, method)()
    except (AttributeError, NotImplementedError):
        return None
