"""The identity of a model, from its configuration and weights; the same for a plain model and under hooks."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import torch
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedModel


def digest_of_parameters(model: PreTrainedModel) -> str:
    """Return a digest of configuration and weights, followed by the dtype."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"{digest.hexdigest()[:32]}:{model.dtype}"


def digest_of_processor(processor: Any, template: Mapping[str, Any] | None = None) -> str:
    """Return a digest of all that turns text and images into inputs: template, its options, tokenizer and settings."""
    backend = getattr(processor.tokenizer, "backend_tokenizer", None)
    words = json.loads(backend.to_str()) if backend is not None else processor.tokenizer.get_vocab()
    words = {
        name: value for name, value in words.items() if name not in ("padding", "truncation")
    }  # of its last use
    images = getattr(processor, "image_processor", None)
    settings = [images.to_dict() if images is not None else {}, dict(template or {})]
    own = {name: value for name, value in vars(processor).items() if isinstance(value, str | int | float)}
    shown = json.dumps([str(processor.chat_template), words, settings, own], sort_keys=True, default=str)
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


VOLATILE = frozenset(
    ("_name_or_path", "_attn_implementation", "_attn_implementation_internal", "dtype", "torch_dtype")
) | {"transformers_version", "_commit_hash", "use_cache", "_output_attentions", "output_attentions"}
"""Entries of a configuration that say where it came from and how it is run, not what the model is."""
THREADS = 4
"""Threads that hash weights in parallel; hashing releases Python's lock."""
UNDER_HOOKS = "._original_component"
"""What TransformerLens inserts into the names of the modules that it wraps."""


class ModelIdentity(BaseModel):
    """What must be equal for a correction to have the effect that was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    architecture: str = Field(description="class of the Hugging Face model")
    blocks: int = Field(ge=1, description="decoder blocks")
    width: int = Field(ge=1, description="width of the residual stream")
    revision: str | None = Field(description="commit on the hub, None for a model from a folder")
    dtype: str = Field(description="number format of the weights")
    configuration: str = Field(description="digest of the configuration")
    weights: str = Field(description="digest of all parameters, names and numbers")

    def difference(self, found: "ModelIdentity") -> str | None:
        """Return, in words, the first property in which `found` differs from this model; None if it is the same."""
        for name, words in COMPARED.items():
            expected, other = getattr(self, name), getattr(found, name)
            known = name != "revision" or (expected and other)
            if known and expected != other:
                return f"{words} {_shown(other)}, and not {_shown(expected)}"
        return None


COMPARED = {
    "architecture": "its architecture is",
    "blocks": "its number of blocks is",
    "width": "its width is",
    "revision": "its revision is",
    "dtype": "its number format is",
    "configuration": "its configuration has digest",
    "weights": "its weights have digest",
}
"""In the order compared, from the cheapest to the digest of all weights."""


def identity_of(model: torch.nn.Module) -> ModelIdentity:
    """Return the identity of a Hugging Face model; parameters are read again only after a change.

    Raises ModelError for a model without a decoder of the usual layout.
    """
    config: Any = model.config
    return ModelIdentity(
        architecture=type(model).__name__,
        blocks=config.get_text_config().num_hidden_layers,
        width=config.get_text_config().hidden_size,
        revision=getattr(config, "_commit_hash", None),
        dtype=str(model.dtype).removeprefix("torch."),
        configuration=_digest(json.dumps(_lasting(config.to_dict()), sort_keys=True, default=str).encode()),
        weights=_digest_of_weights(model),
    )


_KNOWN: "WeakKeyDictionary[torch.nn.Module, tuple[str, str]]" = WeakKeyDictionary()


def _digest_of_weights(model: torch.nn.Module) -> str:
    parameters = {name.replace(UNDER_HOOKS, ""): each for name, each in _own_parameters(model)}
    named = sorted(parameters.items(), key=lambda one: one[0])
    state = _digest(repr([(name, each.data_ptr(), _version(each)) for name, each in named]).encode())
    known = _KNOWN.get(model)
    if known is None or known[0] != state:
        with ThreadPoolExecutor(THREADS) as pool:
            digests = list(pool.map(lambda one: _digest_of_parameter(*one), named))
        known = _KNOWN[model] = (state, _digest("".join(digests).encode()))
    return known[1]


def _own_parameters(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Yield the parameters by name, without those that TransformerLens made from others, such as split projections."""
    hooked = {
        name.removesuffix(UNDER_HOOKS) for name, _ in model.named_modules() if name.endswith(UNDER_HOOKS)
    }
    for name, each in model.named_parameters():
        steps = name.split(".")
        inside = [".".join(steps[:depth]) in hooked for depth in range(len(steps))]
        if all(step == UNDER_HOOKS[1:] for step, below in zip(steps, inside, strict=True) if below):
            yield name, each


def _version(parameter: torch.Tensor) -> int:
    return -1 if parameter.is_inference() else parameter._version


def _digest_of_parameter(name: str, parameter: torch.Tensor) -> str:
    digest = hashlib.sha256(f"{name}{tuple(parameter.shape)}{parameter.dtype}".encode())
    if parameter.numel():
        digest.update(parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _lasting(config: Any) -> Any:
    if isinstance(config, dict):
        return {str(name): _lasting(value) for name, value in config.items() if name not in VOLATILE}
    return [_lasting(value) for value in config] if isinstance(config, list | tuple) else config


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _shown(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 32 else text
