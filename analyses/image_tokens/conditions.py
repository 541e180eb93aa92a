"""The conditions under which the drift at image tokens is tried: doses, controls, and corrections of the last token."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from regap.analyses.image_tokens.choice import ImageTokenChoice
from regap.analyses.image_tokens.variants import Removal, Variant
from regap.analyses.runs.measured import Measured
from regap.geometry.drift import Drift, random_vectors, shuffled_pairs, towards_refusal
from regap.geometry.forward.hooks import Edit
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift

DOSES = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Multiples of the drift at the chosen block; a shift of modality is undone by 1, and overshoots beyond it."""

ADDED = (0.25, 1.0)
"""Multiples of the drift that are added to the request's tokens of text."""


@dataclass(frozen=True, eq=False)
class Condition:
    """One row of the table: edits in one arm, and what they are."""

    name: str
    edits: tuple[Edit, ...] = field(repr=False)
    arm: str
    vector: str = "none"
    layer: int = -1
    """The block of the removal at image tokens, -1 for none."""
    alpha: float = 0.0
    """The strength of that removal; negative: added."""

    @property
    def is_alone(self) -> bool:
        """True if nothing is edited but the tokens of the image or of the request."""
        return self.fixed and not any(edit.only_last for edit in self.edits)

    @property
    def fixed(self) -> bool:
        """True if every prompt is edited alike."""
        return all(isinstance(edit, Removal) for edit in self.edits)

    @property
    def key(self) -> dict[str, Any]:
        """Its cells in the table."""
        names = ("arm", "vector", "layer", "alpha")
        return {"condition": self.name, **{name: getattr(self, name) for name in names}}


def conditions_of(
    seen: Measured, chosen: ImageTokenChoice, random: int, variants: Sequence[Variant] = ()
) -> Iterator[Condition]:
    """Yield all conditions: corrections, doses of the drift, controls, variants, and the drift added to text."""
    arm, early = seen.image_arm, chosen.alone
    yield Condition("nothing", (), arm)
    for name, edit in chosen.corrections.items():
        yield _chosen(name, edit, arm)
    for alpha in DOSES:
        edit = chosen.early(strength=alpha)
        yield Condition(f"image tokens, {alpha:g} D", (edit,), arm, "D", early.block, alpha)
    for name, drift in other_vectors(seen, chosen, random).items():
        edit = chosen.early(strength=1.0, drift=drift)
        yield Condition(f"image tokens, {name}", (edit,), arm, name, early.block, 1.0)
    for one in variants:
        for alpha in one.strengths if one.edit else ():
            title = f"image tokens, {alpha:g} {one.name}"
            yield Condition(title, (one.edit.at(alpha),), arm, one.name, early.block, alpha)  # type: ignore[union-attr]
    yield Condition("nothing", (), "text")
    for name, edit in chosen.corrections.items():
        if name.startswith("one pass"):  # what its gate does to words, where it has no early part
            yield Condition(name, (edit,), "text")
    for alpha in ADDED:
        added = chosen.added(alpha)
        yield Condition(f"request tokens, {alpha:g} D added", (added,), "text", "D", early.block, -alpha)


def _chosen(name: str, edit: Shift | ReGap, arm: str) -> Condition:
    """Return the condition of a chosen correction; block and strength are those at image tokens, if it acts there."""
    early = edit.probe if isinstance(edit, ReGap) else edit
    if early.site.positions == "last" or not early.strength:
        return Condition(name, (edit,), arm)
    vector = "D within budgets" if name.endswith("within budgets") else "D"
    return Condition(name, (edit,), arm, vector, early.site.layers[0], early.strength)


def other_vectors(seen: Measured, chosen: ImageTokenChoice, random: int) -> dict[str, Drift]:
    """Return controls as long as the drift: random vectors, the drift with swapped roles, the refusal direction."""
    seed, drift = seen.config.seed, chosen.drift
    drawn = enumerate(random_vectors(drift, seen.refusal, random, seed))
    found = {f"random {number}": vector for number, vector in drawn}
    found["shuffled"] = shuffled_pairs(drift, chosen.text, chosen.image, seed)
    return found | {"refusal": towards_refusal(drift, seen.refusal)}


Found = TypeVar("Found")


def of(found: Mapping[Condition, Found], arm: str, vector: str, alpha: float) -> Found:
    """Return what was found where this multiple of a vector alone was removed; negative: added. 0 is no edit."""
    return next(
        one
        for condition, one in found.items()
        if condition.is_alone and (condition.arm, condition.vector, condition.alpha) == (arm, vector, alpha)
    )
