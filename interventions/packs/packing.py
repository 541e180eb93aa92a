"""From an edit under hooks to a correction that can be packed, and back: one entry for each kind of edit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import PackError
from regap.geometry.directions import Direction
from regap.geometry.forward.hooks import Edit
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.signals import FITTED, Signal
from regap.interventions.edits.site import Site
from regap.interventions.packs.correction import Correction
from regap.interventions.packs.settings import GateFacts, Kind, ProbeFacts, Settings, SiteFacts


@dataclass(frozen=True)
class Packing:
    """How one kind of edit becomes data, and how it comes back."""

    edit: type
    pack: Callable[[Any, Direction], Correction]
    unpack: Callable[[Correction], Edit]


def correction_of(edit: Edit, refusal: Direction) -> Correction:
    """Return the edit as data, with the refusal directions it reads or, of a fixed one, those of its site.

    Raises PackError for an edit that no pack can hold.
    """
    for packing in PACKINGS.values():
        if isinstance(edit, packing.edit):
            return packing.pack(edit, refusal)
    known = ", ".join(packing.edit.__name__ for packing in PACKINGS.values())
    raise PackError(f"a pack cannot hold {type(edit).__name__}; it holds {known}")


def edit_of(correction: Correction) -> Edit:
    """Return the edit under hooks that does what the correction does on a plain model."""
    return PACKINGS[correction.settings.kind].unpack(correction)


def _pack_shift(shift: Shift, refusal: Direction) -> Correction:
    settings = Settings(
        kind="fixed",
        site=_facts(shift.site),
        strength=float(shift.strength),
        part=shift.name,
        refusal_layers=shift.site.layers,
        gate=None,
    )
    return Correction(settings, shift.vectors.float(), _directions(refusal, shift.site.layers))


def _pack_regap(regap: ReGap, refusal: Direction) -> Correction:  # noqa: ARG001 - it has its own
    before, after = regap.reading.tolist()
    probe, removed = regap.probe, regap.removed
    gate = GateFacts(
        passes=regap.passes,
        probe=ProbeFacts(site=_facts(probe.site), strength=float(probe.strength), part=probe.name),
        read_layers=regap.read_layers,
        signal=regap.signal,
        weights=(tuple(before), tuple(after)),
        kind=regap.gate.kind,
        threshold=float(regap.gate.threshold),
        width=float(regap.gate.width),
    )
    settings = Settings(
        kind="regap",
        site=_facts(removed.site),
        strength=float(regap.strongest),
        part=removed.name,
        refusal_layers=regap.read_layers,
        gate=gate,
    )
    directions = _directions(regap.refusal, regap.read_layers)
    return Correction(settings, removed.vectors.float(), directions, probe.vectors.float())


def _unpack_shift(correction: Correction) -> Shift:
    known = correction.settings
    return Shift(correction.site, correction.vectors, known.strength, known.part)


def _unpack_regap(correction: Correction) -> ReGap:
    known, facts, gate = correction.settings, correction.settings.gate, correction.gate()
    assert facts is not None  # checked when the correction was made
    vectors = correction.refusal.double()
    thresholds = torch.zeros(len(vectors), dtype=torch.float64)  # of the text arm: the gate has its own
    direction = Direction(
        vectors / vectors.norm(dim=-1, keepdim=True), thresholds, known.refusal_layers, "text"
    )
    probed = correction.probed
    probe = Shift(probed.site, probed.vectors, facts.probe.strength, facts.probe.part)
    removed = Shift(correction.site, correction.vectors, 1.0, known.part)
    signal = cast(Signal, facts.signal)
    weights = facts.reading() if signal in FITTED else None
    layers, strongest = facts.read_layers, known.strength
    return ReGap(probe, direction, layers, gate, strongest, signal, weights, removed, facts.passes)


PACKINGS: Mapping[Kind, Packing] = {
    "fixed": Packing(Shift, _pack_shift, _unpack_shift),
    "regap": Packing(ReGap, _pack_regap, _unpack_regap),
}


def _facts(site: Site) -> SiteFacts:
    return SiteFacts(layers=site.layers, positions=site.positions, phase=site.phase, norm=site.norm)


def _directions(refusal: Direction, layers: tuple[int, ...]) -> Float[Tensor, "layer d_model"]:
    return torch.stack([refusal.at(layer) for layer in layers]).float()
