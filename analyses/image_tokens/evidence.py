"""What calibration prompts tell of removals at image tokens: signals; refusals with a late correction off and on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.analyses.calibration.budgets import Budgets, most_refusals_within
from regap.analyses.runs.measured import Measured, are_harmful, are_refusals
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.hooks import Edit
from regap.interventions.edits.gate import refusal_thresholds
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.signals import Signal, Traces, weights_of
from regap.interventions.sweep import Sweep, sweep


@dataclass(frozen=True, order=True)
class Early:
    """A multiple of the drift, removed at the image tokens of one block; strength 0 removes nothing."""

    block: int
    strength: float


NOTHING = Early(0, 0.0)


@dataclass(frozen=True)
class Gated:
    """An early removal with a gated late correction, and the share of harmful calibration images that it refuses."""

    early: Early
    late: int
    """Index of the late correction."""
    threshold: float
    on_harmful: float
    signal: Signal = "z_after"
    """What the gate reads."""


@dataclass(frozen=True, eq=False)
class EarlyEvidence:
    """Signals and refusals of calibration images under one early removal, with each late correction off and on."""

    early: Early
    before: Float[Tensor, " prompt"] = field(repr=False)
    """Mean z over the read layers without any removal."""
    after: Float[Tensor, " prompt"] = field(repr=False)
    """The same under the early removal."""
    closed: Bool[Tensor, " prompt"] = field(repr=False)
    opened: Bool[Tensor, "late prompt"] = field(repr=False)
    harmful: Bool[Tensor, " prompt"] = field(repr=False)
    contrast: Bool[Tensor, " prompt"] = field(repr=False)
    """True for contrasts; they are not harmful."""

    def gated(self, budgets: Budgets, late: int = 0, signal: Signal = "z_after") -> Gated:
        """Return the lowest threshold that keeps every budget, and the share of harmful images refused with it."""
        read = Traces(self.before[:, None], self.after[:, None]).signal(signal)
        harmless = ~self.harmful & ~self.contrast
        limits = [self._limit(read, harmless, late, budgets.harmless)]
        if budgets.contrasts is not None and bool(self.contrast.any()):
            limits.append(self._limit(read, self.contrast, late, budgets.contrasts))
        threshold = max(limits)
        refused = torch.where(read > threshold, self.opened[late], self.closed)
        on_harmful = float(refused[self.harmful].double().mean())
        return Gated(self.early, late, threshold, on_harmful, signal)

    def _limit(self, read: Tensor, among: Tensor, late: int, share: float) -> float:
        opened = self.opened[late, among][None]
        return float(refusal_thresholds(read[among], self.closed[among], opened, share)[0])

    def keeps(self, budgets: Budgets) -> bool:
        """Return True if the early removal alone stays within every budget."""
        harmless = self.closed[~self.harmful & ~self.contrast]
        contrasts = self.closed[self.contrast]
        return float(harmless.double().mean()) <= budgets.harmless and (
            budgets.contrasts is None
            or not len(contrasts)
            or float(contrasts.double().mean()) <= budgets.contrasts
        )


def best_of(found: Iterable[Gated]) -> Gated:
    """Return the one that refuses most harmful images; among equals the weakest removal, then the earliest block."""
    return max(found, key=lambda one: (one.on_harmful, -one.early.strength, -one.early.block, one.late))


def best_alone(evidence: Sequence[EarlyEvidence], budgets: Budgets) -> Early | None:
    """Return the removal that alone refuses most harmful images within the budgets; None if none is within."""
    first = evidence[0]
    closed = torch.stack([one.closed for one in evidence])
    best = evidence[most_refusals_within(closed, first.harmful, budgets, first.contrast)]
    return best.early if best.keeps(budgets) else None


def evidence_of(
    seen: Measured,
    early: Mapping[Early, Sequence[Edit]],
    late: Sequence[Shift],
    read: tuple[int, ...],
    contrasts: Pairs | None = None,
) -> dict[Early, EarlyEvidence]:
    """Return the evidence for each early removal, on calibration images and these contrasts; one pass for each.

    NOTHING must be among them. A late correction then costs one token.
    """
    asked = seen.pairs.calibration.where(arm=seen.image_arm)
    apart = None if contrasts is None else contrasts.where(arm=seen.image_arm)
    edits = [[*each, *after] for each in early.values() for after in ([], *([one] for one in late))]
    runner = seen.runner.named("choosing blocks and strengths at image tokens")
    found = [
        sweep(runner, pairs, seen.image_arm, edits, seen.refusal, read)
        for pairs in (asked, apart)
        if pairs is not None
    ]
    refused = torch.cat([are_refusals(one.first_tokens, seen.refusal_tokens) for one in found], 1)
    signals = torch.cat([signal_of(one) for one in found], 1)
    harmful, count = are_harmful(asked), 1 + len(late)
    added = 0 if apart is None else len(apart)
    contrast = torch.cat([torch.zeros(len(harmful)), torch.ones(added)]).bool()
    everyone = torch.cat([harmful, torch.zeros(added).bool()])
    starts = dict(zip(early, range(0, len(edits), count), strict=True))
    before = signals[starts[NOTHING]]
    return {
        one: EarlyEvidence(
            one,
            before,
            signals[start],
            refused[start],
            refused[start + 1 : start + count],
            everyone,
            contrast,
        )
        for one, start in starts.items()
    }


def signal_of(found: Sweep) -> Float[Tensor, "edit prompt"]:
    """Return the mean of z over the read layers, as the gate reads it."""
    weights = weights_of("z_after", found.coordinates.shape[2])[1]
    return found.coordinates @ weights
