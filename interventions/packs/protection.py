"""Apply a pack to a plain Hugging Face model, inside a `with` or until `unprotect`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regap.errors import ModelError, PackError
from regap.geometry.models.identity import identity_of
from regap.interventions.packs.pack import Pack, corrections_of, layers_of, read_pack, removed_of
from regap.interventions.plain_models.attached import KEPT_AS, GateRecord, attach, detach
from regap.interventions.plain_models.calls import FINDABLE, can_be_found


@contextmanager
def protected(model: Any, pack: Pack | str | Path, *, any_model: bool = False) -> Iterator[Any]:
    """Correct every prompt of the model inside the `with`; afterwards the model is restored, bit for bit.

    `model` is a plain Hugging Face model, `pack` a pack or its folder. Raises what `protect` raises.
    """
    protect(model, pack, any_model=any_model)
    try:
        yield model
    finally:
        unprotect(model)


def protect(model: Any, pack: Pack | str | Path, *, any_model: bool = False) -> Any:
    """Correct every prompt of the model, in all threads, until `unprotect(model)`, and return the model.

    The pack must have been made for this model; its weights are compared. `any_model=True` skips that check, for a
    model with adapters such as LoRA, another dtype or offloaded weights; the pack's measured outcomes may then not
    hold. Raises PackError, before the model is touched, for a pack of another model, and ModelError for a model that
    is protected already, or whose logits an edit does not reach, such as one that wraps another. A change of the
    weights raises ModelError at the next prompt.
    """
    pack = pack if isinstance(pack, Pack) else read_pack(pack)

    def check() -> None:
        check_fit(pack, model, any_model)

    told = f"protected by a {'gated' if pack.edit.kind == 'regap' else 'fixed'} pack"
    attach(model, pack.edit, check, told=told, remedy="unprotect(model)")
    return model


def unprotect(model: Any) -> Any:
    """Restore the model to its state before `protect`, and return it; raises ModelError if it is not protected."""
    detach(model)
    return model


def protection_record(model: Any) -> tuple[GateRecord, ...]:
    """Return what the pack did to each prompt in this thread's last call, in the order of the prompts.

    Empty before the first call. Raises ModelError for a model that is neither protected nor edited.
    """
    held = vars(model).get(KEPT_AS)
    if held is None:
        raise ModelError("the model is not protected, so there is no record; call protect(model, pack) first")
    return held.record()


def check_fit(pack: Pack, model: Any, any_model: bool = False) -> None:
    """Raise PackError, with the difference, unless the pack was made for this model."""
    name = pack.card.name
    for each in corrections_of(pack.edit):
        if not can_be_found(each.site.positions):
            raise PackError(
                f"pack {name} edits the positions {each.site.positions!r}, which cannot be found without a processor; "
                f"make a pack that edits {FINDABLE}"
            )
    if any_model:
        text = model.config.get_text_config()
        width, blocks = removed_of(pack.edit).width, max(layers_of(pack.edit)) + 1
        if text.hidden_size != width or text.num_hidden_layers < blocks:
            raise PackError(
                f"pack {name} edits {blocks} blocks {width} wide, and the model has {text.num_hidden_layers} blocks "
                f"{text.hidden_size} wide; use a pack that was made for this model"
            )
        return
    if any(each.device.type == "meta" for each in model.parameters()):
        raise PackError(
            f"pack {name}: the model's weights are offloaded and cannot be compared; load it "
            "without offloading, or give any_model=True"
        )
    different = pack.card.model.difference(identity_of(model))
    if different:
        raise PackError(
            f"pack {name} was made for another model: {different}; load the model it was made for, make a pack for "
            "this one with `regap pack`, or give any_model=True to use it anyway"
        )
