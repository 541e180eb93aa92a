"""Choose, on calibration pairs, where the drift of image tokens is removed, how far, and when the last token follows.

The drift between roles is the mean over image tokens of image prompts minus the mean over the request's own tokens of
text prompts. Corrections are chosen by refusals of calibration images, by first tokens, with refusals of harmless ones
within the budget: the drift removed at the image tokens alone; a gate at the last token alone; both in one pass, with a
gate on z; and both with a gate on rho. The same are chosen again within stricter budgets, of contrasts too, if these
are given. Our operationalisation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from regap.analyses.calibration.budgets import Budgets, most_refusals_within
from regap.analyses.image_tokens.evidence import (
    NOTHING,
    Early,
    Gated,
    best_alone,
    best_of,
    evidence_of,
)
from regap.analyses.runs.measured import Measured
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pairs
from regap.geometry.drift import Drift, modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.forward.hooks import Edit
from regap.geometry.prompts.positions import carrier_of
from regap.geometry.states.activations import Activations
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift, shift
from regap.interventions.edits.signals import Signal

STRENGTHS = (0.25, 0.5, 1.0)
"""Multiples of the drift that are tried at image tokens; the drift itself is 1."""
LATE_SHARES = (0.5, 0.25)
"""Shares of the late correction that are tried beside the whole, within stricter budgets."""
READ = 3
"""Number of last blocks, up to the corrected one, in which z is read."""


@dataclass(frozen=True, eq=False)
class ImageTokenChoice:
    """The drift at image tokens, and the corrections that were chosen on calibration pairs."""

    text: Activations = field(repr=False)
    """Calibration states of the request's tokens, in words."""
    image: Activations = field(repr=False)
    """Calibration states of the tokens of the image or sound."""
    drift: Drift
    """From the first to the second."""
    alone: Early
    """Best at image tokens alone."""
    late: Shift
    """The correction of the last token that a gate controls."""
    one_pass: ReGap
    """Early removal at image tokens, then the gated correction, in one pass."""
    gate_alone: ReGap
    """The gated correction without an early removal."""
    by_rho: ReGap
    """As `one_pass`, with a gate on self-rectification; this takes one more pass of the prompt."""
    read_layers: tuple[int, ...]
    within: "Within | None" = None
    """What was chosen within stricter budgets; None if none were given."""

    @property
    def corrections(self) -> dict[str, Shift | ReGap]:
        """The chosen corrections, by the names of their conditions."""
        found: dict[str, Shift | ReGap] = {
            "last token": self.late,
            "gate alone": self.gate_alone,
            "one pass": self.one_pass,
            "one pass, gate on rho": self.by_rho,
        }
        if self.within is None:
            return found
        if self.within.alone is not None:
            found["image tokens, within budgets"] = self.within.alone
        return found | {
            "gate alone, within budgets": self.within.gate_alone,
            "one pass, within budgets": self.within.one_pass,
            "one pass, gate on rho, within budgets": self.within.by_rho,
        }

    def early(self, strength: float | None = None, drift: Drift | None = None) -> Shift:
        """Return the removal at image tokens of the chosen block, by default of the chosen multiple of the drift."""
        chosen = self.alone.strength if strength is None else strength
        return shift(drift or self.drift, [self.alone.block], chosen)

    def added(self, alpha: float, drift: Drift | None = None) -> Shift:
        """Return the edit that adds a multiple of the drift to the request's tokens of text, at the chosen block."""
        return shift(drift or self.drift, [self.alone.block], -alpha, positions="request")


@dataclass(frozen=True, eq=False)
class Within:
    """The corrections, chosen with refusals of harmless images and of contrasts within their budgets."""

    budgets: Budgets
    alone: Shift | None
    """None if no removal at image tokens alone stays within both."""
    one_pass: ReGap
    gate_alone: ReGap
    by_rho: ReGap


def states_of_roles(seen: Measured) -> tuple[Activations, Activations]:
    """Return calibration states of the request's tokens in words, and of image tokens in the corrected arm."""
    arm, runner, pairs = seen.image_arm, seen.runner.within("activations"), seen.pairs.calibration
    text = capture(runner, pairs, "text", position="request")["text"]
    return text, capture(runner, pairs, arm, position=carrier_of(arm))[arm]


def choose_at_image_tokens(
    seen: Measured,
    late: Shift,
    blocks: Sequence[int] = (),
    within: Budgets | None = None,
    contrasts: Pairs | None = None,
) -> ImageTokenChoice:
    """Return the corrections chosen at these blocks (by default the first half), with `late` at the last token.

    within: budgets of a second choice, which the calibration contrasts limit too. Raises ConfigError for a block that
    leaves no later one to read, and for a late correction elsewhere.
    """
    chosen = _blocks(seen, late, blocks)
    last = min(late.site.layers)
    read = tuple(range(max(max(chosen) + 1, last - READ + 1), last + 1))
    text, image = states_of_roles(seen)
    drift = modality_drift(text, image)
    tried = [Early(block, strength) for block in chosen for strength in STRENGTHS]
    lates = [late, *(late.at(share * late.strength) for share in LATE_SHARES)] if within else [late]

    def edits(early: Early) -> list[Edit]:
        return [shift(drift, [early.block], early.strength)] if early.strength else []

    everything = {early: edits(early) for early in (NOTHING, *tried)}
    evidence = evidence_of(seen, everything, lates, read, contrasts if within else None)

    def regap(gated: Gated) -> ReGap:
        early = gated.early
        return ReGap(
            shift(drift, [early.block], early.strength),
            seen.refusal,
            read,
            Gate("hard", gated.threshold),
            lates[gated.late].strength,
            gated.signal,
            correction=late.at(1.0),
            passes="single",
        )

    budget, bare = Budgets(seen.config.false_refusals), evidence[NOTHING]
    closed = torch.stack([evidence[each].closed for each in tried])
    alone = tried[most_refusals_within(closed, bare.harmful, budget, bare.contrast)]

    def best(budgets: Budgets, early: Sequence[Early], signal: Signal = "z_after") -> ReGap:
        places = range(len(lates) if budgets is within else 1)
        return regap(best_of(evidence[one].gated(budgets, at, signal) for one in early for at in places))

    stricter = None
    if within:
        found = best_alone([evidence[early] for early in tried], within)
        stricter = Within(
            within,
            alone=None if found is None else shift(drift, [found.block], found.strength),
            one_pass=best(within, tried),
            gate_alone=best(within, [NOTHING]),
            by_rho=best(within, tried, "rho"),
        )
    return ImageTokenChoice(
        text,
        image,
        drift,
        alone,
        late,
        one_pass=best(budget, tried),
        gate_alone=best(budget, [NOTHING]),
        by_rho=best(budget, tried, "rho"),
        read_layers=read,
        within=stricter,
    )


def _blocks(seen: Measured, late: Shift, blocks: Sequence[int]) -> tuple[int, ...]:
    """Return the blocks to try; raises ConfigError for one that leaves no later one to read."""
    last = min(late.site.layers)
    chosen = tuple(blocks) or tuple(each for each in range(seen.model.layers // 2) if each < last)
    wrong = [each for each in chosen if not 0 <= each < last]
    if late.site.positions != "last":
        raise ConfigError(f"the gated correction is at {late.site.positions}; give one at the last token")
    if last == 0:
        raise ConfigError(
            "the run corrects the last token at block 0, so no block comes before it; correct a later one"
        )
    if wrong:
        raise ConfigError(
            f"layers are {list(chosen)}, and the run corrects the last token at block {last}; give layers from 0 to "
            f"{last - 1}"
        )
    return chosen
