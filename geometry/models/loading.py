"""How a model is loaded: the same way for a hub id, a folder and a model already built."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel

from regap.errors import ModelError
from regap.geometry.models.bridge import bridge
from regap.geometry.models.checkpoints import (
    Quantize,
    commit_of,
    known_device,
    known_dtype,
    quantization,
    read_configuration,
    read_weights,
)
from regap.geometry.models.identity import digest_of_folder, digest_of_parameters, digest_of_processor
from regap.geometry.models.processors import as_processor

__all__ = ["Model", "ModelError", "load", "organism_folder"]

ORGANISM = "organism"
_WEIGHTS = Path(__file__).resolve().parents[2] / "organism" / "weights"


@dataclass(frozen=True, eq=False)
class Model:
    """A Hugging Face model under TransformerLens hooks, with its processor."""

    bridge: TransformerBridge = field(repr=False)
    """Hooks at every block boundary; attention and everything else is Hugging Face's own code."""
    processor: Any = field(repr=False)
    """Tokenizer, image processor and chat template; pads on the left."""
    name: str
    """The folder's name, or how else it was asked for."""
    fingerprint: str
    """Digest of weights, configuration, tokenizer, template and number format: equal models, equal digest."""

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
        """False of a model of words alone."""
        return hasattr(self.processor, "image_processor")

    @cached_property
    def image_token(self) -> int | None:
        """The token id that stands for one patch of an image in the prompt, None if there is none."""
        config = self.hf.config
        return getattr(config, "image_token_id", getattr(config, "image_token_index", None))

    @cached_property
    def longest_prompt(self) -> int | None:
        """Number of tokens that the model has positions for, None if it says nothing of them."""
        return getattr(self.hf.config.get_text_config(), "max_position_embeddings", None)

    @cached_property
    def one_token_passes(self) -> bool:
        """True if a prompt can be run up to its last token once and gone on from: that part depends on nothing later.

        Not so where a prompt's tokens attend to later ones (PaliGemma), and where blocks attend to the image by
        keys and values of their own (Mllama).
        """
        text = self.hf.config.get_text_config()
        return not (getattr(text, "use_bidirectional_attention", None) or self.crossing)

    @cached_property
    def crossing(self) -> frozenset[int]:
        """Blocks that attend to an image beside the stream: a prompt without one passes them by."""
        return frozenset(getattr(self.hf.config.get_text_config(), "cross_attention_layers", None) or ())

    def hook_name(self, layer: int) -> str:
        """Return the canonical TransformerLens name of the output of block `layer`, 0-based.

        The output of a block that words alone pass by is read and written where the next one takes it up.
        """
        if not 0 <= layer < self.layers:
            raise ModelError(
                f"layer {layer} is not in model {self.name}; its blocks are 0 to {self.layers - 1}"
            )
        if layer not in self.crossing:
            return f"blocks.{layer}.hook_out"
        return "ln_final.hook_in" if layer == self.layers - 1 else f"blocks.{layer + 1}.hook_in"


def load(
    source: str | Path | PreTrainedModel,
    *,
    processor: Any = None,
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

    `source` is "organism" or "organism:MEMBER" (bundled), a checkpoint folder, a hub id, or a Hugging Face model
    already built (then with its `processor`, or its tokenizer if it reads words alone). The network is used only
    with `download=True`; no package is ever installed; code from a repository runs only with
    `trust_remote_code=True`. `dtype` is a torch name or "auto". `device_map` ("auto", or modules to devices) splits
    the model over several devices, `quantize` loads its weights in 4 or 8 bits, and `attention` names another
    attention implementation (sdpa, eager, flash_attention_2) than the checkpoint's own; these three are for
    checkpoints, a model already built keeps what it was built with. Raises ModelError for a folder that is no
    checkpoint, a missing chat template or package, an unknown layout.
    """
    if isinstance(source, PreTrainedModel):
        if processor is None:
            raise ModelError("processor is missing; give the processor that belongs to the model built")
        return _wrap(source, as_processor(processor), type(source).__name__, digest_of_parameters(source))
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
    return _wrap(hf, chosen, _name(str(source)), f"{digest}:{hf.dtype}{f':{quantize}' if quantize else ''}")


def organism_folder(member: str = "") -> Path:
    """Return the folder of a bundled organism, the default one if no member is named."""
    if not member:
        member = (_WEIGHTS / "default.txt").read_text().strip()
    folder = _WEIGHTS / member
    if not folder.is_dir():
        known = sorted(path.name for path in _WEIGHTS.iterdir() if path.is_dir())
        raise ModelError(f"organism {member!r} is not bundled; choose one of {', '.join(known)}")
    return folder


def _wrap(hf: PreTrainedModel, processor: Any, name: str, digest: str) -> Model:
    processor.tokenizer.padding_side = "left"  # the last token is then the last column of every batch
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    attention = hf.config._attn_implementation
    digest = f"{digest}:{attention}:{digest_of_processor(processor)}"
    return Model(bridge(hf.eval()), processor, name, digest)


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
