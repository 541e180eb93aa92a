"""Residual streams on disk: safetensors shards, named by a digest of everything they depend on."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from regap.errors import StoreError
from regap.geometry.files import write_whole

NARROW = (torch.bfloat16, torch.float16)
"""16-bit formats, in the order tried."""


def narrowest_format(numbers: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the same numbers in the first 16-bit format that represents all of them exactly; float32 if none does.

    The numbers must be finite float32. The first row is tried before the rest, since it mostly decides.
    """
    for narrow in NARROW:
        if _holds(narrow, numbers[:1]) and _holds(narrow, numbers):
            return numbers.to(narrow)
    return numbers


def _holds(narrow: torch.dtype, numbers: Tensor) -> bool:
    return torch.equal(numbers.to(narrow).to(numbers.dtype), numbers)


@dataclass(frozen=True)
class ShardKey:
    """Everything that the numbers in one shard depend on."""

    model: str
    """Fingerprint of the model."""
    edits: tuple[str, ...]
    """Identities of the edits, in order."""
    layers: tuple[int, ...]
    """Which blocks."""
    prompts: tuple[str, ...]
    """Digests of the rendered prompts, in the order of the rows."""
    position: str = "last"
    """Which token; if it names several tokens, their mean."""

    @property
    def digest(self) -> str:
        """Hexadecimal name of the shard."""
        return digest_of([self.model, self.edits, self.layers, self.prompts, self.position, "hook_out"])


def digest_of(value: object) -> str:
    """Return a digest of a value made of lists, mappings, strings and numbers."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def digest_of_tensor(tensor: Tensor) -> str:
    """Return a digest of a tensor's numbers, as float64."""
    return hashlib.sha256(tensor.detach().cpu().double().contiguous().numpy().tobytes()).hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class Stored:
    """One shard as it was written."""

    residuals: Float[Tensor, "prompt layer d_model"]
    """Float32."""
    parts: int
    """Number of passes it was computed in; more than one if the memory ran out."""


@dataclass(frozen=True)
class Store:
    """A folder of shards; a stored shard is not computed again."""

    folder: Path

    def path(self, key: ShardKey) -> Path:
        """Return the path of the shard of this key, whether it exists or not."""
        return self.folder / f"{key.digest}.safetensors"

    def read(self, key: ShardKey) -> Stored | None:
        """Return the shard of this key; None if it is missing or damaged."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                residuals, header = file.get_tensor("residuals"), file.metadata() or {}
        except (SafetensorError, OSError):
            return None  # damaged: computed again and replaced
        whole = header.get("digest") == digest_of_bytes(residuals)
        return Stored(residuals.float(), int(header.get("parts", "1"))) if whole else None

    def write(self, key: ShardKey, residuals: Float[Tensor, "prompt layer d_model"], parts: int = 1) -> Path:
        """Write a shard whole or not at all; raises ValueError for numbers that are not finite.

        Numbers that fit in 16 bits without loss are stored in 16 bits, and read as float32.
        """
        if not bool(torch.isfinite(residuals).all()):
            raise ValueError("residual streams hold infinities or NaN; load the model with dtype='float32'")
        kept = narrowest_format(residuals).contiguous()
        header = {"position": key.position, "hook": "blocks.{layer}.hook_out", "model": key.model}
        header |= {"edits": json.dumps(key.edits), "layers": json.dumps(key.layers), "parts": str(parts)}
        header |= {"prompts": json.dumps(key.prompts), "digest": digest_of_bytes(kept)}
        return write_whole(self.path(key), _encoded({"residuals": kept}, header))


def digest_of_bytes(tensor: Tensor) -> str:
    """Return a digest of a tensor's dtype, shape and bytes."""
    digest = hashlib.sha256(json.dumps([str(tensor.dtype), *tensor.shape]).encode())
    digest.update(tensor.detach().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def write_tensors(
    path: Path, tensors: dict[str, Tensor], header: dict[str, str], exact: bool = False
) -> None:
    """Write named tensors and a header to one safetensors file, whole or not at all; float32 unless `exact`.

    The header also holds a digest of the tensors, which `read_tensors` checks.
    """
    kept = {name: tensor.detach().to("cpu", tensor.dtype if exact else torch.float32).contiguous()
            for name, tensor in tensors.items()}  # fmt: skip
    write_whole(path, _encoded(kept, {**header, "digest": _digest_of_named(kept)}))


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and header that `write_tensors` wrote; raises StoreError for a missing or damaged file."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError):
        raise StoreError(f"{path} is missing or not a safetensors file; make it again") from None
    if header.get("digest") != _digest_of_named(tensors):
        raise StoreError(f"{path} is damaged: its digest does not match its tensors; make it again")
    return tensors, header


def _digest_of_named(tensors: dict[str, Tensor]) -> str:
    return digest_of({name: digest_of_bytes(tensor) for name, tensor in tensors.items()})


def encoded_tensors(tensors: dict[str, Tensor], header: dict[str, str]) -> bytes:
    """Return the bytes of a safetensors file of these tensors and header; equal for equal content."""
    return _encoded({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, header)


def _encoded(tensors: dict[str, Tensor], header: dict[str, str]) -> bytes:
    """Return a safetensors file with sorted header keys, so that equal content gives equal bytes."""
    data = save(tensors, metadata=header)
    size = int.from_bytes(data[:8], "little")
    ordered = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)  # tensors begin at a multiple of 8 bytes
    return len(ordered).to_bytes(8, "little") + ordered + data[8 + size :]
