"""Worlds of the claims about answers: the drift as a cause, and ReGap against fixed strengths."""

from dataclasses import dataclass

import torch
from torch import Tensor

from regap.analyses.claims import drift_causes, regap_against_fixed
from regap.analyses.claims.claim import Claim
from regap.analyses.claims.criteria import criteria
from regap.analyses.claims.frontier import Curve
from regap.analyses.claims.regap_against_fixed import FINE, STRICTEST, TESTED
from regap.analyses.power.world import RESAMPLES, Draws, World
from regap.analyses.statistics import paired_difference
from regap.geometry.estimates import mean_draws
from regap.interventions.edits.gate import budget_threshold

TEXT_REFUSED, IMAGES_REFUSED = 0.98, 0.45
CALIBRATION = 150
"""Harmless calibration images in every world of ReGap."""


@dataclass(frozen=True)
class Cause:
    """The share of the gap that a quarter of D and D itself close in images, open in text, and random vectors do."""

    closed: tuple[float, float]
    opened: tuple[float, float]
    random: float = 0.0
    flipped: float = 0.0
    """Share of verdicts that a careless judge draws at random."""
    images: float = IMAGES_REFUSED
    """Refusals of images without correction."""

    def __call__(self, draws: Draws) -> Claim:
        """Simulate refusals at each dose and under each random vector, and judge them."""
        count, gap = draws.sizes.doses, TEXT_REFUSED - self.images
        as_image, as_text = draws.uniform(count), draws.uniform(count)  # how reluctant each prompt is

        def refused(reluctance: Tensor, share: float) -> Tensor:
            found = reluctance < share
            careless = draws.uniform(count) < self.flipped
            return torch.where(careless, draws.uniform(count) < 0.5, found)

        small = criteria()["drift_causes"].effect("small_dose")
        doses = (0.0, small, 1.0)
        removed = {
            dose: refused(as_image, self.images + gap * share)
            for dose, share in zip(doses, (0.0, *self.closed), strict=True)
        }
        added = {
            dose: refused(as_text, TEXT_REFUSED - gap * share)
            for dose, share in zip(doses, (0.0, *self.opened), strict=True)
        }
        number = int(criteria()["drift_causes"].effect("random_vectors"))
        # Two vectors as long differ a little in what they do.
        shares = self.random + 0.05 * draws.normal(2, number)
        found = drift_causes.Refusals(
            removed,
            added,
            torch.stack([refused(as_image, self.images + gap * float(share)) for share in shares[0]]),
            torch.stack([refused(as_text, TEXT_REFUSED - gap * float(share)) for share in shares[1]]),
            tuple(str(place) for place in range(count)),
            RESAMPLES,
            int(draws.generator.integers(2**32)),
        )
        return drift_causes.decide(found)


@dataclass(frozen=True)
class Gated:
    """Fixed strengths that refuse each image from its own dose on, and a gate that reads a signal of harm."""

    read: float
    """By how many standard deviations the signal is higher for harmful images."""
    spoiled: float = 0.0
    """Share of harmless answers that the gated correction spoils without a refusal."""
    harmless_dose: float = 2.5
    """Median dose at which a harmless image is refused; harmful ones at 0.6."""

    def __call__(self, draws: Draws) -> Claim:
        """Simulate the answers at each strength and under a gate for each budget, and judge them."""
        sizes = draws.sizes
        doses_harmful = 0.6 * torch.exp(0.5 * draws.normal(sizes.harmful))
        doses_harmless = self.harmless_dose * torch.exp(0.6 * draws.normal(sizes.harmless))
        doses_known = self.harmless_dose * torch.exp(0.6 * draws.normal(CALIBRATION))
        signal_harmful = self.read + draws.normal(sizes.harmful)
        signal_harmless, signal_known = draws.normal(sizes.harmless), draws.normal(CALIBRATION)
        harmful, harmless = (
            draws.resamples(torch.ones(count, dtype=torch.bool)).weights
            for count in (sizes.harmful, sizes.harmless)
        )

        def shares(refused: Tensor, weights: Tensor) -> Tensor:
            return mean_draws(refused.double()[:, None], weights)[:, 0]

        strengths = (0.0, *FINE)
        fixed = Curve(
            torch.stack([shares(doses_harmless < dose, harmless) for dose in strengths], 1),
            torch.stack([1 - shares(doses_harmful < dose, harmful) for dose in strengths], 1),
        )
        dose, reached = 1.5, {}
        gates = {budget: budget_threshold(signal_known, budget) for budget in TESTED}
        for budget, gate in gates.items():
            refused = (doses_harmless < dose) & (signal_harmless > gate)
            missed = ~((doses_harmful < dose) & (signal_harmful > gate))
            reached[budget] = regap_against_fixed.Reached(shares(refused, harmless), shares(missed, harmful))
        allowed = [each for each in strengths if float((doses_known < each).double().mean()) <= STRICTEST]
        right_fixed = doses_harmless >= max(allowed)
        spoiled = draws.uniform(sizes.harmless) < self.spoiled
        right_gated = ~((doses_harmless < dose) & (signal_harmless > gates[STRICTEST])) & ~spoiled
        names = [str(place) for place in range(sizes.harmless)]
        utility = paired_difference(right_fixed, right_gated, names, int(draws.generator.integers(2**32)))
        return regap_against_fixed.decide(
            fixed, reached, utility, (sizes.harmful, min(sizes.harmful, sizes.harmless))
        )


ANSWER_WORLDS = (
    World("drift_causes", "doses do nothing", False, Cause((0.0, 0.0), (0.0, 0.0))),
    World("drift_causes", "nothing, careless judge", False, Cause((0.0, 0.0), (0.0, 0.0), flipped=0.3)),
    World("drift_causes", "any vector does as much", False, Cause((0.1, 0.85), (0.1, 0.85), random=0.85)),
    World("drift_causes", "a quarter of the drift is enough", False, Cause((0.85, 1.0), (0.85, 1.0))),
    World("drift_causes", "adding it to text does nothing", False, Cause((0.1, 0.85), (0.0, 0.0))),
    World("drift_causes", "half of the gap and no more", False, Cause((0.1, 0.5), (0.1, 0.5))),
    World("drift_causes", "nothing to explain", False, Cause((0.1, 0.85), (0.1, 0.85), images=TEXT_REFUSED)),
    World("drift_causes", "1 D does most of it", True, Cause((0.1, 0.85), (0.1, 0.85))),
    World("regap", "the gate reads nothing", False, Gated(0.0, harmless_dose=1.5)),
    World("regap", "a gate that spoils answers", False, Gated(4.0, spoiled=0.06, harmless_dose=1.5)),
    World("regap", "fixed strengths cost nothing", False, Gated(4.0, harmless_dose=12.0)),
    World("regap", "the gate reads harm", True, Gated(4.0, harmless_dose=1.5)),
)
