"""How a model is loaded: the same way for a hub id, a checkpoint folder and a model in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel

from regap.errors import ModelError
from regap.geometry.models.bridge import Hooks, bridge
from regap.geometry.models.checkpoints import (
    Quantize,
    commit_of,
    known_device,
    known_dtype,
    model_class,
    quantization,
    read_configuration,
    read_weights,
)
from regap.geometry.models.component_map import ModulePath, Submodule, parts_of_blocks
from regap.geometry.models.identity import digest_of_folder, digest_of_parameters, digest_of_processor
from regap.geometry.models.processors import as_processor

__all__ = ["Model", "ModelError", "load", "organism_folder"]

ORGANISM = "organism"
ROUNDING = 1e-3
"""Largest difference between logits with all hooks and without, relative to the largest; 50 times that in 16 bits."""
_WEIGHTS = Path(__file__).resolve().parents[2] / "organism" / "weights"


@dataclass(frozen=True, eq=False)
class Model:
    """A Hugging Face model under TransformerLens hooks, with its processor."""

    bridge: TransformerBridge = field(repr=False)
    """TransformerLens' view of the model: `run_with_cache`, `hooks` and `hook_dict` work as they do there."""
    processor: Any = field(repr=False)
    """Tokenizer, image processor and chat template; pads on the left."""
    name: str
    """The checkpoint folder's name, the hub id, or the class of a model in memory."""
    fingerprint: str
    """Digest of weights, configuration, tokenizer, template, number format and attention implementation."""
    hooks: Hooks = "blocks"
    """Which hooks the bridge has: at block boundaries, or at every part that TransformerLens' adapter knows."""

    def __post_init__(self) -> None:
        if not getattr(self.processor, "chat_template", None):
            raise ModelError(_no_template(self.name))

    @property
    def hf(self) -> Any:
        """The Hugging Face model itself; the bridge's hooks fire inside its `forward` and `generate`."""
        return self.bridge.original_model

    @cached_property
    def layers(self) -> int:
        """Number of decoder blocks."""
        return int(self.bridge.cfg.n_layers)

    @cached_property
    def width(self) -> int:
        """Width of the residual stream."""
        return int(self.bridge.cfg.d_model)

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device that the token embedding runs on, wherever the other parts of the model are."""
        embedding = self.bridge.embed.original_component
        if embedding.weight.device.type != "meta":
            return embedding.weight.device
        return torch.device(embedding._hf_hook.execution_device)  # kept elsewhere between passes

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def sees_images(self) -> bool:
        """True if prompts may have images, False for a language model."""
        return hasattr(self.processor, "image_processor")

    @cached_property
    def image_token(self) -> int | None:
        """The token id that stands for a patch of an image in `input_ids`, None if there is none."""
        config = self.hf.config
        return getattr(config, "image_token_id", getattr(config, "image_token_index", None))

    @cached_property
    def longest_prompt(self) -> int | None:
        """Number of tokens that the model has positions for, None if its configuration does not say."""
        return getattr(self.hf.config.get_text_config(), "max_position_embeddings", None)

    @cached_property
    def one_token_passes(self) -> bool:
        """True if the KV cache of a prompt without its last token can be reused: it depends on no later token.

        False where prompt tokens attend to later ones (PaliGemma), and where cross-attention blocks keep keys and
        values of the image (Mllama).
        """
        text = self.hf.config.get_text_config()
        return not (getattr(text, "use_bidirectional_attention", None) or self.crossing)

    @cached_property
    def crossing(self) -> frozenset[int]:
        """Cross-attention blocks, which read the image and are skipped without one."""
        return frozenset(getattr(self.hf.config.get_text_config(), "cross_attention_layers", None) or ())

    @cached_property
    def parts(self) -> Mapping[Submodule, ModulePath]:
        """Where each block keeps its attention, its MLP and the input of its output projection, as far as known."""
        return parts_of_blocks(self.hf)

    def hook_name(self, layer: int) -> str:
        """Return the canonical TransformerLens name of the output of block `layer`, 0-based.

        The output of a cross-attention block, which is skipped without an image, is read and written at the next
        module's input. Raises ModelError for a layer that the model does not have.
        """
        if not 0 <= layer < self.layers:
            raise ModelError(
                f"layer {layer} is not in model {self.name}; its blocks are 0 to {self.layers - 1}"
            )
        if layer not in self.crossing:
            return f"blocks.{layer}.hook_out"
        return "ln_final.hook_in" if layer == self.layers - 1 else f"blocks.{layer + 1}.hook_in"

    @torch.inference_mode()
    def logit_lens(self, states: Float[Tensor, "prompt d_model"]) -> Float[Tensor, "prompt token_id"]:
        """Return W_U norm(h), float32 on the CPU: what the model would write if these were its last block's outputs.

        For outputs of the last block these are the model's own logits. Soft caps on logits, which some models have,
        are not applied. Raises ModelError for a model without an output embedding.
        """
        head = self.hf.get_output_embeddings()
        if head is None:
            raise ModelError(
                f"model {self.name} has no output embedding; methods that read tokens off states need one"
            )
        weight = next(head.parameters())
        inputs = states.to(weight.device, weight.dtype)
        norm = getattr(self.bridge, "ln_final", None)
        return head(inputs if norm is None else norm(inputs)).float().cpu()


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
) -> Model:
    """Return a model ready for capture and intervention, in evaluation mode.

    `source` is "organism" or "organism:MEMBER" (bundled), a checkpoint folder, a hub id, or a Hugging Face model in
    memory, given with its `processor` (a language model with its tokenizer). `hooks="blocks"` is fast: it hooks the
    boundaries of the decoder blocks and leaves attention to Hugging Face. `hooks="all"` uses TransformerLens' own
    adapter, so that `model.bridge.run_with_cache` returns attention patterns, `hook_z` by head and the output of every
    MLP; it costs speed and memory, and attention is computed in the eager way. The network is used only with
    `download=True`; no package is ever installed; code from a repository runs only with `trust_remote_code=True`.
    `dtype` is a torch name or "auto". `device_map` ("auto", or modules to devices) splits the model over several
    devices, `quantize` loads its weights in 4 or 8 bits, and `attention` names another attention implementation (sdpa,
    eager, flash_attention_2) than the checkpoint's own; these three, and `device` and `dtype`, are for checkpoints: a
    model in memory keeps what it was built with. Raises ModelError for a folder that is no checkpoint, a missing chat
    template or package, an unknown layout, or an architecture that `hooks="all"` does not have.
    """
    if hooks not in get_args(Hooks):
        raise ModelError(f"hooks is {hooks!r}; write 'blocks' or 'all'")
    if hooks == "all" and attention not in (None, "eager"):
        raise ModelError(
            f"attention={attention!r} cannot be combined with hooks='all', which computes attention in the eager way; "
            "leave attention out, or load with hooks='blocks'"
        )
    if isinstance(source, PreTrainedModel):
        if processor is None:
            raise ModelError("processor is missing; give the processor that belongs to the model built")
        name = type(source).__name__
        return _wrap(source, as_processor(processor), name, digest_of_parameters(source), hooks)
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
        raise ModelError(_no_template(str(source)))
    hf = read_weights(str(source), found, config, {**weights, **options})
    if device_map is None and quantize is None:
        hf = hf.to(device=place)
    digest = (
        digest_of_folder(Path(found)) if Path(found).is_dir() else f"{found}@{commit_of(found, revision)}"
    )
    digest = f"{digest}:{hf.dtype}{f':{quantize}' if quantize else ''}"
    return _wrap(hf, chosen, _name(str(source)), digest, hooks)


def load_without_weights(
    source: str, *, dtype: str = "float32", revision: str | None = None, download: bool = False
) -> Model:
    """Return the model that `load` would return with parameters that hold no numbers: for counting, not for running.

    Raises ModelError for a source that has no configuration, or for which transformers has no class.
    """
    found = locate(source)
    config, processor = read_configuration(found, {"revision": revision, "local_files_only": not download})
    number = config.dtype if known_dtype(dtype) == "auto" else getattr(torch, dtype)
    with torch.device("meta"):
        hf = model_class(source, config).from_config(config, dtype=number)
    return Model(bridge(hf.eval()), processor, source, "unloaded")


def organism_folder(member: str = "") -> Path:
    """Return the folder of a bundled organism, the default one if no member is named."""
    if not member:
        member = (_WEIGHTS / "default.txt").read_text().strip()
    folder = _WEIGHTS / member
    if not folder.is_dir():
        known = sorted(path.name for path in _WEIGHTS.iterdir() if path.is_dir())
        raise ModelError(f"organism {member!r} is not bundled; choose one of {', '.join(known)}")
    return folder


def _wrap(hf: PreTrainedModel, processor: Any, name: str, digest: str, hooks: Hooks) -> Model:
    processor.tokenizer.padding_side = "left"  # the last token is then the last column of every batch
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    plain = _sample_logits(hf.eval(), processor) if hooks == "all" else None
    wrapped = bridge(hf, hooks)
    attention = hf.config._attn_implementation if hooks == "blocks" else "all hooks"
    digest = f"{digest}:{attention}:{digest_of_processor(processor)}"
    if plain is not None:
        allowed = ROUNDING if hf.dtype == torch.float32 else 50 * ROUNDING
        _require_equal(name, plain, _sample_logits(hf, processor), allowed)
    return Model(wrapped, processor, name, digest, hooks)


@torch.inference_mode()
def _sample_logits(hf: Any, processor: Any) -> Tensor:
    tokens = processor.tokenizer("What is shown here, and why?", return_tensors="pt")
    device = hf.get_input_embeddings().weight.device
    return hf(input_ids=tokens["input_ids"].to(device), use_cache=False).logits.float().cpu()


def _require_equal(name: str, plain: Tensor, hooked: Tensor, allowed: float) -> None:
    """Some adapters compute parts of a model anew; a model that they change is refused."""
    difference = float((plain - hooked).abs().max() / plain.abs().max())
    if not difference <= allowed:
        raise ModelError(
            f"model {name}: TransformerLens' adapter changes its logits (largest relative difference "
            f"{difference:.1e}, allowed {allowed:.0e}); load it with hooks='blocks'"
        )


def _name(source: str) -> str:
    """Return a folder's own name, and any other source as it was asked for."""
    path = Path(source).expanduser()
    return path.resolve().name if path.is_dir() else source


def locate(source: str) -> str:
    """Return the folder a source stands for, or the hub id that it is; raises ModelError if it is neither."""
    if source == ORGANISM or source.startswith(f"{ORGANISM}:"):
        return str(organism_folder(source.partition(":")[2]))
    path = Path(source).expanduser()
    if path.exists():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"model {source}: the folder holds no config.json, so it is no checkpoint; check the path"
            )
        return str(path)
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ModelError(
            f"model {source}: no such folder, and no hub id of the form OWNER/NAME; check the path"
        )
    return source


def _no_template(name: str) -> str:
    return (
        f"model {name}: its processor has no chat template; add chat_template.jinja to the folder, "
        "or pass a processor whose chat_template is set"
    )
