"""Choose, on calibration pairs, where the drift of image tokens is removed, how far, and when the last token follows.

The drift between roles is the mean over image tokens of image prompts minus the mean over the request's own tokens of
text prompts. Three corrections are chosen by refusals of calibration images, by first tokens, with refusals of harmless
ones within the budget: the drift removed at the image tokens alone; a gate at the last token alone; and both in one
pass. Our operationalisation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.analyses.calibration.choice import most_refusals_within_budget
from regap.analyses.runs.measured import Measured, are_harmful, are_refusals
from regap.errors import ConfigError
from regap.geometry.data.pairs import is_speech_arm
from regap.geometry.drift import Drift, modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.states.activations import Activations
from regap.interventions.edits.gate import Gate, refusal_thresholds
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift, shift
from regap.interventions.edits.signals import weights_of
from regap.interventions.sweep import Sweep, sweep

STRENGTHS = (0.25, 0.5, 1.0)
"""Multiples of the drift that are tried at image tokens; the drift itself is 1."""
READ = 3
"""Number of last blocks, up to the corrected one, in which z is read."""


@dataclass(frozen=True, order=True)
class Early:
    """A multiple of the drift, removed at the image tokens of one block; strength 0 removes nothing."""

    block: int
    strength: float


NOTHING = Early(0, 0.0)


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
    read_layers: tuple[int, ...]

    def early(self, strength: float | None = None, drift: Drift | None = None) -> Shift:
        """Return the removal at image tokens of the chosen block, by default of the chosen multiple of the drift."""
        chosen = self.alone.strength if strength is None else strength
        return shift(drift or self.drift, [self.alone.block], chosen)

    def added(self, alpha: float, drift: Drift | None = None) -> Shift:
        """Return the edit that adds a multiple of the drift to the request's tokens of text, at the chosen block."""
        return shift(drift or self.drift, [self.alone.block], -alpha, positions="request")


def image_position(arm: str) -> str:
    """Return the position of the tokens that carry the request in this arm: `image`, or `audio` for speech."""
    return "audio" if is_speech_arm(arm) else "image"


def states_of_roles(seen: Measured) -> tuple[Activations, Activations]:
    """Return calibration states of the request's tokens in words, and of image tokens in the corrected arm."""
    arm, runner, pairs = seen.image_arm, seen.runner.within("activations"), seen.pairs.calibration
    text = capture(runner, pairs, "text", position="request")["text"]
    return text, capture(runner, pairs, arm, position=image_position(arm))[arm]


def choose_at_image_tokens(seen: Measured, late: Shift, blocks: Sequence[int] = ()) -> ImageTokenChoice:
    """Return the corrections chosen at these blocks (by default the first half), with `late` at the last token.

    Raises ConfigError for a block that leaves no later one to read, and for a late correction elsewhere.
    """
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
    read = tuple(range(max(max(chosen) + 1, last - READ + 1), last + 1))
    text, image = states_of_roles(seen)
    drift = modality_drift(text, image)
    tried = [Early(block, strength) for block in chosen for strength in STRENGTHS]
    evidence = _gathered(seen, drift, late, [NOTHING, *tried], read)
    budget = seen.config.false_refusals
    closed = torch.stack([evidence[each].closed for each in tried])
    alone = tried[most_refusals_within_budget(closed, evidence[NOTHING].harmful, budget)]
    gates = {early: found.gated(budget) for early, found in evidence.items()}
    best = max(tried, key=lambda early: (gates[early].on_harmful, -early.strength, -early.block))

    def regap(early: Early) -> ReGap:
        probe = shift(drift, [early.block], early.strength)
        gate = Gate("hard", gates[early].threshold)
        return ReGap(
            probe,
            seen.refusal,
            read,
            gate,
            late.strength,
            "z_after",
            correction=late.at(1.0),
            passes="single",
        )

    return ImageTokenChoice(text, image, drift, alone, late, regap(best), regap(NOTHING), read)


@dataclass(frozen=True, eq=False)
class EarlyEvidence:
    """Signal and refusals of calibration images under one early removal, with the late correction off and on."""

    signal: Float[Tensor, " prompt"] = field(repr=False)
    closed: Bool[Tensor, " prompt"] = field(repr=False)
    opened: Bool[Tensor, " prompt"] = field(repr=False)
    harmful: Bool[Tensor, " prompt"] = field(repr=False)

    def gated(self, budget: float) -> "_Gated":
        """Return the lowest threshold within the budget of refused harmless images, and what it refuses."""
        rows, harmless = (self.signal, self.closed, self.opened), ~self.harmful
        signal, closed, opened = (each[harmless] for each in rows)
        threshold = float(refusal_thresholds(signal, closed, opened[None], budget)[0])
        refused = torch.where(self.signal > threshold, self.opened, self.closed)
        return _Gated(threshold, float(refused[self.harmful].double().mean()))


@dataclass(frozen=True)
class _Gated:
    threshold: float
    on_harmful: float


def _gathered(
    seen: Measured, drift: Drift, late: Shift, tried: Sequence[Early], read: tuple[int, ...]
) -> Mapping[Early, EarlyEvidence]:
    """Return the evidence for each early removal; two passes of whole prompts for each."""
    asked = seen.pairs.calibration.where(arm=seen.image_arm)
    early = [[shift(drift, [one.block], one.strength)] if one.strength else [] for one in tried]
    edits = [*early, *([*each, late] for each in early)]
    runner = seen.runner.named("choosing blocks and strengths at image tokens")
    found = sweep(runner, asked, seen.image_arm, edits, seen.refusal, read)
    refused = are_refusals(found.first_tokens, seen.refusal_tokens)
    closed, opened = refused.chunk(2)
    signals = signal_of(found)[: len(tried)]
    harmful = are_harmful(asked)
    return {
        one: EarlyEvidence(signal, shut, open_, harmful)
        for one, signal, shut, open_ in zip(tried, signals, closed, opened, strict=True)
    }


def signal_of(found: Sweep) -> Float[Tensor, "edit prompt"]:
    """Return the mean of z over the read layers, as the gate reads it."""
    weights = weights_of("z_after", found.coordinates.shape[2])[1]
    return found.coordinates @ weights
