"""What a model is known by: digests of all that its numbers depend on."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel


def digest_of_folder(folder: Path) -> str:
    """Return a digest of the files in a checkpoint folder that a model is made of."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".jinja", ".safetensors", ".bin", ".txt", ".model"):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


def digest_of_parameters(model: PreTrainedModel) -> str:
    """Return a digest of configuration and weights, and the number format."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"{digest.hexdigest()[:32]}:{model.dtype}"


def digest_of_processor(processor: Any) -> str:
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
