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
from regap.geometry.files import OPEN_SEAL, check_whole, note_damaged, sealed, write_whole

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
        """Return the shard of this key; None if it is missing, or damaged, which a warning says."""
        path = self.path(key)
        try:
            check_whole(path, key.digest)
            with safe_open(path, framework="pt") as file:
                residuals, header = file.get_tensor("residuals"), file.metadata() or {}
        except (StoreError, SafetensorError, OSError):
            note_damaged(path)
            return None
        return Stored(residuals.float(), int(header.get("parts", "1")))

    def write(self, key: ShardKey, residuals: Float[Tensor, "prompt layer d_model"], parts: int = 1) -> Path:
        """Write a shard whole or not at all; raises ValueError for numbers that are not finite.

        Numbers that fit in 16 bits without loss are stored in 16 bits, and read as float32.
        """
        if not bool(torch.isfinite(residuals).all()):
            raise ValueError(
                "residual streams hold infinities or NaN; load the model with dtype='float32' (--dtype)"
            )
        kept = narrowest_format(residuals).contiguous()
        header = {"position": key.position, "hook": "blocks.{layer}.hook_out", "model": key.model}
        header |= {"edits": json.dumps(key.edits), "layers": json.dumps(key.layers), "parts": str(parts)}
        header |= {"prompts": json.dumps(key.prompts)}
        return write_whole(self.path(key), encoded_tensors({"residuals": kept}, header, key.digest))


def write_tensors(
    path: Path, tensors: dict[str, Tensor], header: dict[str, str], exact: bool = False, of: str = ""
) -> None:
    """Write named tensors and a header to one safetensors file, whole or not at all; float32 unless `exact`.

    The file also holds its digest, which covers tensors, header and what it answers to, `of`; `read_tensors` checks
    it.
    """
    kept = {
        name: tensor if exact else tensor.detach().to("cpu", torch.float32)
        for name, tensor in tensors.items()
    }
    write_whole(path, encoded_tensors(kept, header, of))


def read_tensors(path: str | Path, of: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and header that `write_tensors` wrote; raises StoreError for a missing or damaged file."""
    check_whole(Path(path), of)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError):
        raise StoreError(f"{path} is not a safetensors file; make it again") from None
    return tensors, header


def encoded_tensors(tensors: dict[str, Tensor], header: dict[str, str], of: str = "") -> bytes:
    """Return a sealed safetensors file of these tensors and header; equal content gives equal bytes."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = save(kept, metadata={"_digest": OPEN_SEAL.decode(), **header})
    size = int.from_bytes(data[:8], "little")
    ordered = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)  # tensors begin at a multiple of 8 bytes
    return sealed(len(ordered).to_bytes(8, "little") + ordered + data[8 + size :], of)
