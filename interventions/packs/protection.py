"""A pack on a plain Hugging Face model: for as long as a `with` lasts, or until it is taken off."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regap.errors import ModelError, PackError
from regap.geometry.models.identity import identity_of
from regap.interventions.packs.pack import Pack, layers_of, read_pack, removed_of, shifts_of
from regap.interventions.plain_models.attached import KEPT_AS, GateRecord, attach, detach

POSITIONS = ("last", "all")
"""Positions that can be told without the processor."""


@contextmanager
def protected(model: Any, pack: Pack | str | Path, *, any_model: bool = False) -> Iterator[Any]:
    """Correct every prompt that the model is given while this lasts; afterwards it is as it was, bit for bit.

    `model` is a plain Hugging Face model, `pack` a pack or its folder. Raises what `protect` raises.
    """
    protect(model, pack, any_model=any_model)
    try:
        yield model
    finally:
        unprotect(model)


def protect(model: Any, pack: Pack | str | Path, *, any_model: bool = False) -> Any:
    """Return the model, of which every prompt is corrected from now on, in all threads, until `unprotect(model)`.

    The pack must be of this very model, told by its weights. `any_model=True` leaves that check out, for a model with
    adapters such as LoRA, another number format or offloaded weights: then nothing that was measured of the pack is
    known to hold. Raises PackError, before the model is touched, for a pack of another model, and ModelError for a
    model that is protected already, or whose logits an edit does not reach: one that was compiled, or that wraps
    another. Weights that change later are refused at the next prompt.
    """
    pack = pack if isinstance(pack, Pack) else read_pack(pack)

    def check() -> None:
        check_fit(pack, model, any_model)

    told = f"protected by a {'gated' if pack.edit.kind == 'regap' else 'fixed'} pack"
    attach(model, pack.edit, check, told=told, remedy="unprotect(model)")
    return model


def unprotect(model: Any) -> Any:
    """Return the model as it was before `protect`; raises ModelError if it is not protected."""
    detach(model)
    return model


def protection_record(model: Any) -> tuple[GateRecord, ...]:
    """Return what the pack did to each prompt of this thread's last answer, in the order of the prompts.

    Empty before the first answer. Raises ModelError for a model that is neither protected nor edited.
    """
    held = vars(model).get(KEPT_AS)
    if held is None:
        raise ModelError("the model is not protected, so nothing is recorded; protect(model, pack) first")
    return held.record()


def check_fit(pack: Pack, model: Any, any_model: bool = False) -> None:
    """Raise PackError, naming what differs, unless the pack was made for this very model."""
    name = pack.card.name
    for shift in shifts_of(pack.edit):
        if shift.site.positions not in POSITIONS:
            raise PackError(
                f"pack {name} edits the positions {shift.site.positions!r}, which a plain model cannot tell; "
                f"make a pack that edits {' or '.join(POSITIONS)}"
            )
    if any_model:
        text = model.config.get_text_config()
        width, blocks = removed_of(pack.edit).vectors.shape[1], max(layers_of(pack.edit)) + 1
        if text.hidden_size != width or text.num_hidden_layers < blocks:
            raise PackError(
                f"pack {name} edits {blocks} blocks {width} wide, and the model has {text.num_hidden_layers} blocks "
                f"{text.hidden_size} wide; no setting makes it fit"
            )
        return
    if any(each.device.type == "meta" for each in model.parameters()):
        raise PackError(
            f"pack {name}: the model's weights are offloaded, so that it cannot be told which model it is; load it "
            "without offloading, or give any_model=True"
        )
    different = pack.card.model.difference(identity_of(model))
    if different:
        raise PackError(
            f"pack {name} was made for another model: {different}; load the model it was made for, make a pack for "
            "this one with `regap pack`, or give any_model=True to use it all the same"
        )
