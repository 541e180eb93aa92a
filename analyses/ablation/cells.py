"""The ablations of a request: every layer x component x replacement, with controls."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch

from regap.analyses.runs.measured import Measured, are_harmful
from regap.errors import ConfigError
from regap.geometry.forward.runner import silent
from regap.geometry.models.loading import Model
from regap.geometry.models.submodule_hooks import heads_of
from regap.geometry.prompts.positions import MEDIA, Position, Positions, carrier_of
from regap.interventions.edits.ablation import (
    Ablation,
    Constant,
    Control,
    FromArm,
    Replacement,
    Resampled,
    component_bank,
)
from regap.interventions.edits.components import Component
from regap.interventions.edits.other_arm import OtherArms
from regap.interventions.edits.site import Site
from regap.interventions.edits.unread import Unread

Replaced = Literal["zero", "mean", "resample", "patch-text", "patch-image", "unread"]
COMPONENTS = ("attention", "mlp", "block", "head", "state", "direction")
PATCHES = ("patch-text", "patch-image")


@dataclass(frozen=True)
class AblationRequest:
    """Components, replacements, layers and positions to ablate; every combination is run."""

    components: tuple[str, ...] = ("attention", "mlp", "block")
    replacements: tuple[str, ...] = ("mean", "patch-text")
    layers: tuple[int, ...] = ()
    """Blocks, 0-based; empty for all."""
    heads: tuple[int, ...] = ()
    """Heads for component head; empty for all."""
    positions: tuple[str, ...] = ("last",)
    together: bool = False
    """Ablate all layers at once instead of one after another."""
    controls: bool = True
    answers: bool = False
    """Also generate and judge answers under each ablation, not only first tokens."""

    def __post_init__(self) -> None:
        places = [Position.of(each) for each in self.positions]
        known = {"component": COMPONENTS, "replace": get_args(Replaced), "positions": self.positions}
        given = {"component": self.components, "replace": self.replacements, "positions": self.positions}
        for name, values in given.items():
            for value in values:
                if value not in known[name]:
                    raise ConfigError(f"{name} is {value!r}; choose from {', '.join(known[name])}")
            if not values or len(set(values)) < len(values):
                raise ConfigError(
                    f"{name} is {', '.join(values) or 'empty'}; give at least one, and each only once"
                )
        if self.heads and "head" not in self.components:
            raise ConfigError("heads need component head; add --component head, or leave --heads out")
        if "unread" in self.replacements and (self.components, self.positions) != (("head",), ("last",)):
            raise ConfigError(
                "unread is what a head at the last token no longer reads; add --component head and no other, and leave "
                "--positions out"
            )
        media = [place for place in places if place.role in MEDIA and str(place) != place.role]
        if media and set(self.replacements) & set(PATCHES):
            raise ConfigError(
                f"positions {media[0]} cannot be patched between text and image, since the text run has no such token; "
                f"choose {media[0].role}, whose tokens are patched from those of the request"
            )

    def check(self, model: Model) -> None:
        """Raise ModelError or ConfigError for layers and heads that the model does not have; nothing is run."""
        for layer in self.layers_of(model):
            for component in self._kinds(model):
                component.check(model, layer)

    def layers_of(self, model: Model) -> tuple[int, ...]:
        """Return the layers to ablate: those given, or all but cross-attention blocks."""
        return self.layers or tuple(layer for layer in range(model.layers) if layer not in model.crossing)

    def _kinds(self, model: Model) -> Iterator[Component]:
        for name in self.components:
            if name == "head":
                yield from (Component("head", head) for head in self.heads or range(heads_of(model)))
            elif name != "direction":
                yield Component(name)  # type: ignore[arg-type]

    def named_components(self, seen: Measured) -> list[tuple[str, Component]]:
        """Return the components with their names in tables; component direction becomes `refusal` and `drift`."""
        found: list[tuple[str, Component]] = [(each.kind, each) for each in self._kinds(seen.model)]
        if "direction" not in self.components:
            return found
        axes = {"refusal": seen.refusal.vectors}
        axes |= {"drift": seen.drift.vectors} if seen.corrected_arm else {}
        for name, each in axes.items():
            found.append((name, Component("direction", axes=each / each.norm(dim=-1, keepdim=True))))
        return found


@dataclass(frozen=True, eq=False)
class AblationCell:
    """One ablation of one arm."""

    name: str
    """Name of the component."""
    replaced: str
    control: str
    """none, random (moved as far, in a random direction) or self (patched with its own run; must change nothing)."""
    edit: Ablation = field(repr=False)
    positions: str
    """Name of the positions in tables."""

    @property
    def way(self) -> str:
        """How it is run: packed (many in one pass), alone (a one-token pass) or full (a full pass)."""
        if not self.edit.only_last:
            return "full"
        return "alone" if self.control == "self" else "packed"

    @property
    def row(self) -> dict[str, object]:
        """Its columns in tables."""
        layers = self.edit.site.layers
        return {
            "component": self.name,
            "head": self.edit.component.head,
            "replacement": self.replaced,
            "control": self.control,
            "positions": self.positions,
            "layers": shown_layers(layers),
            "layer": min(layers),
        }

    @property
    def title(self) -> str:
        """A unique name within the arm."""
        return " ".join(str(value) for value in self.row.values())


@dataclass(frozen=True)
class Place:
    """Which tokens of an arm are replaced, and from which tokens of the other run they are patched."""

    name: str
    """Its name in tables."""
    at: Positions
    read: Positions | None = None
    """None: the same positions."""


def patched_at(arm: str, source: str, where: Positions) -> Place | None:
    """Return where an arm is patched from another arm's run, by name of the positions; None if it has none of them.

    Tokens of an image or a sound have no like in words. So they are patched from the tokens that carry the request
    there, and the request's own tokens in words from those of the image or sound: in order, token by token if both are
    as many, else stretched over them. (Their mean alone would replace every request by much the same.)
    """
    if where not in ("image", "audio"):
        return Place(where, where)
    mine, theirs = carrier_of(arm), carrier_of(source)
    if where not in (mine, theirs):
        return None
    if where == mine:
        return Place(where, mine, None if theirs == mine else theirs)
    return Place(f"{mine} from {theirs}", mine, theirs)


def _has(seen: Measured, arm: str, where: str) -> bool:
    """Return False for tokens of images in an arm without pictures, and of sounds in an arm without sounds."""
    media = {"image": "pictures", "audio": "sounds"}.get(Position.of(where).role)
    return media is None or any(getattr(pair.prompts[arm], media) for pair in seen.pairs.test.where(arm=arm))


def cells_of(seen: Measured, wanted: AblationRequest, arm: str) -> list[AblationCell]:
    """Return every requested ablation of an arm, with its controls; empty if none applies to the arm.

    Means and donors come from calibration prompts in the same arm; means weight labels equally, donors are harmless.
    """
    found: list[AblationCell] = []
    plain = [each for each in wanted.replacements if each not in PATCHES]
    components = wanted.named_components(seen)
    for where in wanted.positions:
        own: Place = Place(where, where)  # type: ignore[arg-type]
        names = plain if _has(seen, arm, where) else []
        patches = _patches(seen, wanted, arm, own.at)
        told = f"components of calibration prompts, {arm}"
        advance = seen.runner.track(told, len(components)) if names else silent(told, 0)
        for name, component in components:
            for each, replacement in _replacements(seen, wanted, arm, component, where, names):
                found += _cells(seen, wanted, name, component, own, each, replacement)
            for patch in patches:
                found += _cells(seen, wanted, name, component, patch.place, patch.name, patch.other)
                if wanted.controls:
                    found += _cells(
                        seen, wanted, name, component, patch.place, patch.name, patch.itself, ("self",)
                    )
            advance(1)
    return found


@dataclass(frozen=True, eq=False)
class _Patch:
    """One way to patch an arm: from the other run, and, as a control, from its own."""

    name: str
    place: Place
    other: FromArm
    itself: FromArm


def _patches(seen: Measured, wanted: AblationRequest, arm: str, where: Positions) -> list[_Patch]:
    """Return the ways to patch an arm at these positions; empty if its pairs or its tokens have none."""
    sources = {each: source_of(seen, each) for each in wanted.replacements if each in PATCHES}
    places = {
        each: (source, patched_at(arm, source, where))
        for each, source in sources.items()
        if source and source != arm
    }
    if not any(place for _, place in places.values()):
        return []
    twins = OtherArms.of(seen.model, seen.pairs.test, arm)
    return [
        _Patch(each, place, FromArm(twins, source, place.read), FromArm(twins, arm))
        for each, (source, place) in places.items()
        if place
    ]


def source_of(seen: Measured, patch: str) -> str | None:
    """Return the arm that a patch is taken from; None if the pairs do not have it."""
    return "text" if patch == "patch-text" else seen.corrected_arm


def _cells(
    seen: Measured,
    wanted: AblationRequest,
    name: str,
    component: Component,
    place: Place,
    replaced: str,
    replacement: Replacement,
    controls: Sequence[str] | None = None,
) -> list[AblationCell]:
    layers = wanted.layers_of(seen.model)
    kinds = controls or (("none", "random") if wanted.controls else ("none",))
    found = []
    for kind in kinds:
        written: Control = "random" if kind == "random" else "none"
        for some in [layers] if wanted.together else [(layer,) for layer in layers]:
            site = Site(some, place.at)
            edit = Ablation(site, component, replacement, written, seen.config.seed)
            found.append(AblationCell(name, replaced, kind, edit, place.name))
    return found


def _replacements(
    seen: Measured, wanted: AblationRequest, arm: str, component: Component, where: str, names: Sequence[str]
) -> list[tuple[str, Replacement]]:
    layers = wanted.layers_of(seen.model)
    found: list[tuple[str, Replacement]] = []
    if "zero" in names:
        found.append(("zero", Constant({layer: torch.zeros(component.size(seen.model)) for layer in layers})))
    if "unread" in names:
        found.append(("unread", Unread(carrier_of(arm))))
    if not {"mean", "resample"} & set(names):
        return found
    asked = seen.pairs.calibration.where(arm=arm)
    prompts, harmful = [pair.prompts[arm] for pair in asked], are_harmful(asked)
    bank = component_bank(seen.runner, prompts, component, layers, where)
    if "mean" in names:
        means = {layer: (each[harmful].mean(0) + each[~harmful].mean(0)) / 2 for layer, each in bank.items()}
        found.append(("mean", Constant(means)))
    if "resample" in names:
        donors = {layer: each[~harmful] for layer, each in bank.items()}
        found.append(("resample", Resampled(donors, seen.config.seed)))
    return found


def shown_layers(layers: Sequence[int]) -> str:
    """Return layers in short form, such as 3-5,8."""
    parts: list[list[int]] = []
    for layer in sorted(layers):
        if parts and layer == parts[-1][-1] + 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
