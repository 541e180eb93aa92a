"""Correction packs: a correction, the model it is for and what it did there, in a folder of their own."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from regap.errors import PackError
from regap.geometry.files import write_whole
from regap.geometry.models.identity import ModelIdentity
from regap.geometry.states.store import encoded_tensors
from regap.interventions.packs.card import Outcome, PackCard, PackSource
from regap.interventions.packs.correction import Correction
from regap.interventions.packs.page import readme

FORMAT = "regap correction pack 2"
CARD, TENSORS, README = "card.json", "pack.safetensors", "README.md"
LARGEST_CARD = 2**20
"""Bytes."""


@dataclass(frozen=True, eq=False)
class Pack:
    """A correction with the model it is for."""

    card: PackCard
    correction: Correction = field(repr=False)

    def __post_init__(self) -> None:
        model, name = self.card.model, self.card.name
        if self.correction.width != model.width:
            raise PackError(
                f"pack {name} has vectors {self.correction.width} wide for a model {model.width} wide; make it again"
            )
        last = max(self.correction.layers)
        if last >= model.blocks:
            raise PackError(
                f"pack {name} names layer {last}, and its model has {model.blocks} blocks; make it again"
            )
        if _digest(_tensors(self.correction)) != self.card.tensors_sha256:
            raise PackError(f"pack {name} has other tensors than its card tells of; make it again")

    @classmethod
    def of(
        cls,
        name: str,
        model: ModelIdentity,
        correction: Correction,
        source: PackSource,
        outcomes: tuple[Outcome, ...] = (),
    ) -> "Pack":
        """Return the pack of a correction, with its card filled in."""
        card = PackCard(
            format=FORMAT,
            name=name,
            model=model,
            source=source,
            outcomes=outcomes,
            correction=correction.settings,
            tensors_sha256=_digest(_tensors(correction)),
        )
        return cls(card, correction)


def write_pack(pack: Pack, folder: str | Path) -> Path:
    """Write card.json, pack.safetensors and README.md, and return the folder; equal packs give equal bytes.

    Raises PackError for a folder that holds other files.
    """
    folder = Path(folder)
    check_folder(folder)
    write_whole(folder / TENSORS, _tensors(pack.correction))
    write_whole(folder / CARD, (pack.card.model_dump_json(indent=2) + "\n").encode())
    write_whole(folder / README, readme(pack.card).encode())
    return folder


def check_folder(folder: Path) -> None:
    """Raise PackError for a folder that a pack may not be written to: one that holds anything else."""
    known = {CARD, TENSORS, README}
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - known):
        raise PackError(f"out is {folder}, which holds something else than a pack; name a new folder")


def read_pack(folder: str | Path) -> Pack:
    """Return the pack in a folder; raises PackError if a file is missing, cut off, changed, or not what it must be."""
    folder = Path(folder)
    card = _card(_content(folder / CARD))
    content = _content(folder / TENSORS)
    if _digest(content) != card.tensors_sha256:
        raise PackError(
            f"pack {folder}: {TENSORS} is cut off, or not the one {CARD} was written with; fetch or make it again"
        )
    return Pack(card, Correction.of(card.correction, _loaded(folder, content)))


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise PackError(f"pack {path.parent}: {path.name} is missing; name a folder that `regap pack` wrote")
    return path.read_bytes()


def _card(content: bytes) -> PackCard:
    if len(content) > LARGEST_CARD:
        raise PackError(
            f"{CARD} is {len(content)} bytes long, which no card is; fetch or make the pack again"
        )
    try:
        return PackCard.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("format",) and isinstance(first["input"], str):
            raise PackError(
                f"{CARD}: format is {first['input'][:40]!r}, and this version of regap reads {FORMAT!r}; make the pack "
                "again with `regap pack`"
            ) from None
        where = ".".join(str(part) for part in first["loc"])
        raise PackError(
            f"{CARD}: {where + ': ' if where else ''}{first['msg']}; fetch or make the pack again"
        ) from None


def _loaded(folder: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise PackError(
            f"pack {folder}: {TENSORS} is no safetensors file ({error}); make the pack again"
        ) from None


def _tensors(correction: Correction) -> bytes:
    return encoded_tensors(correction.tensors, {"format": FORMAT})


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
