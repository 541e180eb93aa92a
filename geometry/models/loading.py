"""Load a model from a hub id, a checkpoint folder or memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel

from regap.errors import ModelError
from regap.geometry.models.bridge import bare_copy, bridge
from regap.geometry.models.checkpoint_files import check_files, digest_of_folder
from regap.geometry.models.checkpoints import (
    NO_CODE,
    Quantize,
    commit_of,
    known_device,
    known_dtype,
    model_class,
    quantization,
    read_configuration,
    read_weights,
)
from regap.geometry.models.identity import digest_of_parameters, digest_of_processor
from regap.geometry.models.model import Hooks, Model, no_template, weights_in
from regap.geometry.models.processors import as_processor
from regap.geometry.models.stream import check_stream
from regap.geometry.models.template_options import check_options
from regap.subjects import subject_folder

__all__ = ["Model", "ModelError", "load"]

ROUNDING = 1e-3
"""Largest allowed difference of logits with all hooks, relative to the largest logit; 50 times that in 16 bits."""


def load(
    source: str | Path | PreTrainedModel,
    *,
    processor: Any = None,
    hooks: Hooks = "blocks",
    device: str = "cpu",
    dtype: str = "float32",
    revision: str | None = None,
    download: bool = False,
    trust_remote_code: bool = False,
    device_map: str | dict[str, Any] | None = None,
    quantize: Quantize | None = None,
    attention: str | None = None,
    template: Mapping[str, Any] | None = None,
) -> Model:
    """Return a model ready for capture and intervention, in evaluation mode.

    `source` is "organism" or "organism:MEMBER" (bundled), "english" or "english:MEMBER" (on a base that is installed
    beside regap), a checkpoint folder, a hub id, or a Hugging Face model in memory, given with its `processor` (a
    language model with its tokenizer). `hooks="blocks"` is fast: it hooks the boundaries of the decoder blocks and
    leaves attention to Hugging Face. `hooks="all"` uses TransformerLens' own
    adapter, so that `model.bridge.run_with_cache` returns attention patterns, `hook_z` by head and the output of every
    MLP; it is slower, takes more memory and uses eager attention. The network is used only with `download=True`; no
    package is ever installed; code from a repository runs only with `trust_remote_code=True`. `dtype` is a torch name
    or "auto". `device_map` ("auto", or a mapping of modules to devices) splits the model over several devices,
    `quantize` loads its weights in 4 or 8 bits, and `attention` chooses the attention implementation (sdpa, eager,
    flash_attention_2). These three, `device` and `dtype` apply to checkpoints only; a model in memory keeps its own.
    `template` holds options of the chat template, such as {"enable_thinking": False}; its "date" is what templates
    write as today's date, 2024-07-26 by default, so that prompts are the same every day.
    Raises ModelError for a folder that is not a checkpoint, a missing chat template or package, an unknown layout, or
    an architecture that `hooks="all"` does not have.
    """
    if hooks not in get_args(Hooks):
        raise ModelError(f"hooks is {hooks!r}; write 'blocks' or 'all'")
    if hooks == "all" and attention not in (None, "eager"):
        raise ModelError(
            f"attention={attention!r} cannot be combined with hooks='all', which uses eager attention; "
            "leave attention out, or load with hooks='blocks', as every command does"
        )
    if isinstance(source, PreTrainedModel):
        if processor is None:
            raise ModelError("processor is missing; give the processor that belongs to the model")
        name = type(source).__name__
        return _wrap(source, as_processor(processor), name, digest_of_parameters(source), hooks, template)
    if isinstance(source, torch.nn.Module):
        raise ModelError(
            f"source is of type {type(source).__name__}; give the Hugging Face model itself, not a wrapper"
        )
    weights: dict[str, Any] = {"dtype": known_dtype(dtype)}
    place = known_device(device)
    if device_map is not None:
        weights["device_map"] = device_map
    if attention is not None:
        weights["attn_implementation"] = attention
    if quantize is not None:
        weights["quantization_config"] = quantization(quantize, dtype)
    found = locate(str(source))
    options = {"revision": revision, "local_files_only": not download, "trust_remote_code": trust_remote_code}
    config, read = read_configuration(found, options)
    chosen = read if processor is None else as_processor(processor)
    if not getattr(chosen, "chat_template", None):
        raise ModelError(no_template(str(source)))
    hf = read_weights(str(source), found, config, {**weights, **options})
    if device_map is None and quantize is None:
        hf = hf.to(device=place)
    digest = (
        digest_of_folder(Path(found)) if Path(found).is_dir() else f"{found}@{commit_of(found, revision)}"
    )
    digest = f"{digest}:{hf.dtype}{f':{quantize}' if quantize else ''}"
    return _wrap(hf, chosen, _name(str(source)), digest, hooks, template)


def with_all_hooks(model: Model) -> Model:
    """Return a model loaded with hooks="blocks" as one with hooks="all"; both share their weights.

    Raises ModelError if TransformerLens has no adapter for the architecture.
    """
    weights = weights_in(model.fingerprint)
    return _wrap(bare_copy(model.hf), model.processor, model.name, weights, "all", model.template)


def load_without_weights(
    source: str, *, dtype: str = "float32", revision: str | None = None, download: bool = False
) -> Model:
    """Return the model of `load` with parameters that have shapes but no values, to estimate sizes; it cannot run.

    Raises ModelError for a source without a configuration, or one that transformers has no class for.
    """
    found = locate(source)
    config, processor = read_configuration(found, {"revision": revision, "local_files_only": not download})
    number = config.dtype if known_dtype(dtype) == "auto" else getattr(torch, dtype)
    with torch.device("meta"):
        hf = model_class(source, config).from_config(config, dtype=number, **NO_CODE)
    return Model(bridge(hf.eval()), processor, source, "unloaded")


def _wrap(
    hf: PreTrainedModel,
    processor: Any,
    name: str,
    digest: str,
    hooks: Hooks,
    template: Mapping[str, Any] | None,
) -> Model:
    if template:
        check_options(name, processor, template)
    processor.tokenizer.padding_side = "left"  # the last token is then the last column of every batch
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    plain = _sample_logits(hf.eval(), processor) if hooks == "all" else None
    wrapped = bridge(hf, hooks)
    attention = hf.config._attn_implementation if hooks == "blocks" else "all hooks"
    digest = f"{digest}:{attention}:{digest_of_processor(processor, template)}"
    if plain is not None:
        allowed = ROUNDING if hf.dtype == torch.float32 else 50 * ROUNDING
        _require_equal(name, plain, _sample_logits(hf, processor), allowed)
    model = Model(wrapped, processor, name, digest, hooks, dict(template or {}))
    check_stream(model)
    return model


@torch.inference_mode()
def _sample_logits(hf: Any, processor: Any) -> Tensor:
    tokens = processor.tokenizer("What is shown here, and why?", return_tensors="pt")
    device = hf.get_input_embeddings().weight.device
    inputs = {name: tokens[name].to(device) for name in ("input_ids", "attention_mask")}
    return hf(**inputs, use_cache=False).logits.float().cpu()


def _require_equal(name: str, plain: Tensor, hooked: Tensor, allowed: float) -> None:
    """Raise ModelError if the adapter changes the logits; some adapters reimplement parts of a model."""
    difference = float((plain - hooked).abs().max() / plain.abs().max())
    if not difference <= allowed:
        raise ModelError(
            f"model {name}: TransformerLens' adapter changes its logits (largest relative difference "
            f"{difference:.1e}, allowed {allowed:.0e}); load it with hooks='blocks', as every command does"
        )


def _name(source: str) -> str:
    """Return the name of a folder, and any other source unchanged."""
    path = Path(source).expanduser()
    return path.resolve().name if path.is_dir() else source


def locate(source: str) -> str:
    """Return the folder or hub id that a source names; raises ModelError if it is neither."""
    if own := subject_folder(source):
        return str(own)
    path = Path(source).expanduser()
    if path.exists():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"model {source}: the folder has no config.json, so it is not a checkpoint; check the path"
            )
        check_files(path)
        return str(path)
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ModelError(
            f"model {source} is neither a folder nor a hub id of the form OWNER/NAME; check the path"
        )
    return source
