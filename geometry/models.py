"""How a vision-language model is loaded: the same way for a hub id, a folder and a model already built."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, PreTrainedModel
from transformers.utils import logging

from regap.geometry.adapter import ModelError, bridge

__all__ = ["Model", "ModelError", "load", "organism_folder"]

ORGANISM = "organism"
_WEIGHTS = Path(__file__).resolve().parent.parent / "organism" / "weights"


@dataclass(frozen=True, eq=False)
class Model:
    """A Hugging Face vision-language model under TransformerLens hooks, with its processor."""

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
            raise ModelError(
                f"model {self.name}: its processor has no chat template; "
                "add chat_template.jinja to the folder, or set processor.chat_template"
            )

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
        """Where inputs go."""
        return self.hf.device

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    def hook_name(self, layer: int) -> str:
        """Return the canonical TransformerLens name of the output of block `layer`, 0-based."""
        if not 0 <= layer < self.layers:
            raise ModelError(
                f"layer {layer} is not in model {self.name}; its blocks are 0 to {self.layers - 1}"
            )
        return f"blocks.{layer}.hook_out"


def load(
    source: str | Path | PreTrainedModel,
    *,
    processor: Any = None,
    device: str = "cpu",
    dtype: str = "float32",
    revision: str | None = None,
    download: bool = False,
    trust_remote_code: bool = False,
) -> Model:
    """Return a model ready for capture and intervention, in evaluation mode.

    `source` is "organism" or "organism:MEMBER" (bundled), a checkpoint folder, a hub id, or a Hugging Face model
    already built (then with its `processor`). The network is used only with `download=True`; no package is ever
    installed; code from a repository runs only with `trust_remote_code=True`. `dtype` is a torch name or "auto".
    Raises ModelError for a folder that is no checkpoint, a missing chat template, an unknown layout.
    """
    if isinstance(source, PreTrainedModel):
        if processor is None:
            raise ModelError("processor is missing; give the processor that belongs to the model built")
        name = type(source).__name__
        return _wrap(source, processor, name, _digest_of_parameters(source))
    found = _locate(str(source))
    options = {"revision": revision, "local_files_only": not download, "trust_remote_code": trust_remote_code}
    config, loaded_processor = _read_configuration(found, options)
    _check_chat_template(str(source), processor or loaded_processor)
    try:
        with _quiet():
            hf: Any = AutoModelForImageTextToText.from_pretrained(
                found, config=config, dtype=dtype, **options
            )
    except (OSError, ValueError) as error:
        raise ModelError(f"model {source}: {_first_line(error)}") from None
    digest = _digest_of_folder(Path(found)) if Path(found).is_dir() else f"{found}@{config._commit_hash}"
    return _wrap(
        hf.to(device=device), processor or loaded_processor, _name(str(source)), f"{digest}:{hf.dtype}"
    )


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
    digest = f"{digest}:{attention}:{_digest_of_processor(processor)}"
    return Model(bridge(hf.eval()), processor, name, digest)


def _name(source: str) -> str:
    """Return a folder's own name, and any other source as it was asked for."""
    path = Path(source).expanduser()
    return path.resolve().name if path.is_dir() else source


def _locate(source: str) -> str:
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


def _read_configuration(found: str, options: dict[str, Any]) -> Any:
    try:
        config = AutoConfig.from_pretrained(found, **options)
        return config, AutoProcessor.from_pretrained(found, **options)
    except (OSError, ValueError, ImportError, json.JSONDecodeError) as error:
        hint = (
            "" if Path(found).is_dir() else "; if it is a hub id that is not cached yet, allow the download"
        )
        raise ModelError(f"model {found}: {_first_line(error)}{hint}") from None


def _check_chat_template(name: str, processor: Any) -> None:
    if not hasattr(processor, "tokenizer"):
        raise ModelError(f"model {name}: it has no processor for images; give a vision-language model")
    if not getattr(processor, "chat_template", None):
        raise ModelError(
            f"model {name}: its processor has no chat template; add chat_template.jinja to the folder, "
            "or pass a processor whose chat_template is set"
        )


def _digest_of_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".jinja", ".safetensors", ".bin", ".txt", ".model"):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


def _digest_of_parameters(model: PreTrainedModel) -> str:
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"{digest.hexdigest()[:32]}:{model.dtype}"


def _digest_of_processor(processor: Any) -> str:
    """Digest of template, tokenizer and image settings: a prompt is told from another by its text and image alone."""
    backend = getattr(processor.tokenizer, "backend_tokenizer", None)
    words = json.loads(backend.to_str()) if backend is not None else processor.tokenizer.get_vocab()
    words = {
        name: value for name, value in words.items() if name not in ("padding", "truncation")
    }  # of its last use
    images = getattr(processor, "image_processor", None)
    settings = images.to_dict() if images is not None else {}
    shown = json.dumps([str(processor.chat_template), words, settings], sort_keys=True, default=str)
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' own progress bars off the terminal: the command line has one of its own."""
    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
