"""A pack on a plain Hugging Face model: for as long as a `with` lasts, or until it is taken off."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regap.errors import ModelError, PackError
from regap.geometry.models.identity import identity_of
from regap.interventions.packs.attached import Attached
from regap.interventions.packs.pack import Pack, read_pack
from regap.interventions.packs.plain_blocks import Blocks

KEPT_AS = "_regap_protection"
ATTACHABLE = ("last", "all")
"""Positions that can be told without the processor."""


@contextmanager
def protected(model: Any, pack: Pack | str | Path) -> Iterator[Any]:
    """Correct every prompt that the model is given while this lasts; afterwards it is as it was, bit for bit.

    `model` is a plain Hugging Face model, `pack` a pack or its folder. Raises PackError, before the model is
    touched, for a pack that was made for another one, and ModelError for a model that is protected already.
    """
    protect(model, pack)
    try:
        yield model
    finally:
        unprotect(model)


def protect(model: Any, pack: Pack | str | Path) -> Any:
    """Return the model, of which every prompt is corrected from now on, until `unprotect(model)`.

    Raises what `protected` raises.
    """
    pack = pack if isinstance(pack, Pack) else read_pack(pack)
    if KEPT_AS in vars(model):
        held = vars(model)[KEPT_AS]
        kind = held.correction.settings.kind
        raise ModelError(f"the model is protected already, by a {kind} pack; unprotect(model) first")
    blocks = Blocks.of(model)
    check_fit(pack, model)
    attached = Attached(model, pack.correction, blocks)
    attached.put_on()
    vars(model)[KEPT_AS] = attached
    return model


def unprotect(model: Any) -> Any:
    """Return the model as it was before `protect`; raises ModelError if it is not protected."""
    if KEPT_AS not in vars(model):
        raise ModelError("the model is not protected; there is nothing to take off")
    vars(model).pop(KEPT_AS).take_off()
    return model


def check_fit(pack: Pack, model: Any) -> None:
    """Raise PackError, naming what differs, unless the pack was made for this very model."""
    unknown = [site.positions for site in pack.correction.sites if site.positions not in ATTACHABLE]
    if unknown:
        raise PackError(
            f"pack {pack.card.name} edits the positions {unknown[0]!r}, which a plain model cannot tell; "
            f"make a pack that edits {' or '.join(ATTACHABLE)}"
        )
    different = pack.card.model.difference(identity_of(model))
    if different:
        raise PackError(
            f"pack {pack.card.name} was made for another model: {different}; load the model it was made for, "
            "or make a pack for this one with `regap pack`"
        )
