"""Residual streams on disk: safetensors shards named by the digest of all that they depend on."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from regap.geometry.files import write_whole


@dataclass(frozen=True)
class ShardKey:
    """All that the numbers in one shard depend on."""

    model: str
    """Fingerprint of the model."""
    edits: tuple[str, ...]
    """Identities of the edits, in order."""
    layers: tuple[int, ...]
    """Which blocks."""
    prompts: tuple[str, ...]
    """Digests of the rendered prompts, in the order of the rows."""

    @property
    def digest(self) -> str:
        """Hexadecimal name of the shard."""
        return digest_of([self.model, self.edits, self.layers, self.prompts, "last", "hook_out"])


def digest_of(value: object) -> str:
    """Return a digest of a value made of lists, texts and numbers."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def digest_of_tensor(tensor: Tensor) -> str:
    """Return a digest of a tensor's numbers, as float64."""
    return hashlib.sha256(tensor.detach().cpu().double().contiguous().numpy().tobytes()).hexdigest()[:32]


@dataclass(frozen=True)
class Store:
    """A folder of shards; a shard that is there is never computed again."""

    folder: Path

    def shard(
        self, key: ShardKey, compute: Callable[[], Float[Tensor, "prompt layer d_model"]]
    ) -> Float[Tensor, "prompt layer d_model"]:
        """Return the residual streams for this key, computed and written only if they are not stored."""
        path = self.folder / f"{key.digest}.safetensors"
        stored = _read(path)
        if stored is not None:
            return stored
        residuals = compute()
        header = {"position": "last", "hook": "blocks.{layer}.hook_out", "model": key.model}
        header |= {"edits": json.dumps(key.edits), "layers": json.dumps(key.layers)}
        header |= {"prompts": json.dumps(key.prompts), "digest": digest_of_tensor(residuals)}
        write_whole(path, _encoded({"residuals": residuals.contiguous()}, header))
        return residuals


def _read(path: Path) -> Tensor | None:
    """Return the residual streams of a shard; None if it is not there, or not as it was written."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            residuals, header = file.get_tensor("residuals"), file.metadata() or {}
    except (SafetensorError, OSError):
        return None  # damaged: computed anew and replaced
    return residuals if header.get("digest") == digest_of_tensor(residuals) else None


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Write named tensors and a header to one safetensors file, whole or not at all."""
    contiguous = {name: tensor.detach().to(torch.float32).contiguous() for name, tensor in tensors.items()}
    write_whole(path, _encoded(contiguous, header))


def _encoded(tensors: dict[str, Tensor], header: dict[str, str]) -> bytes:
    """Return a safetensors file that is equal for equal content: the library orders a header's keys at random."""
    data = save(tensors, metadata=header)
    size = int.from_bytes(data[:8], "little")
    ordered = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)  # tensors begin at a multiple of 8 bytes
    return len(ordered).to_bytes(8, "little") + ordered + data[8 + size :]
