"""Worlds of the claims about geometry: collapse, prediction and self-rectification."""

from dataclasses import dataclass

import torch
from torch import Tensor

from regap.analyses.claims import collapse, drift_predicts, self_rectification
from regap.analyses.claims.claim import Claim
from regap.analyses.claims.criteria import criteria
from regap.analyses.power.world import Draws, World

D_PRIME = 4.0
"""d' of text in every world."""


@dataclass(frozen=True)
class Collapse:
    """Shares of d' that images and a blank image lose at the chosen and at the last layer."""

    images: tuple[float, float]
    blank: tuple[float, float] = (0.1, 0.1)
    shift: float = 0.0
    """A displacement of all images, in standard deviations."""

    def __call__(self, draws: Draws) -> Claim:
        """Simulate z of text, of images and of text beside a blank image, and judge it."""
        harmful = draws.harmful
        side = torch.where(harmful, D_PRIME / 2, -D_PRIME / 2)[:, None]
        own = draws.normal(len(harmful), 2)

        def arm(lost: tuple[float, float], shift: float = 0.0) -> Tensor:
            noise = (own + draws.normal(len(harmful), 2)) / 2**0.5  # half of what varies is the request's own
            return side * (1 - torch.tensor(lost, dtype=torch.float64)) + shift + noise

        weights = draws.resamples(harmful).weights
        text, images, blank = arm((0.0, 0.0)), arm(self.images, self.shift), arm(self.blank)
        lost, beside = (collapse.share_lost(text, other, harmful, weights) for other in (images, blank))
        return collapse.decide(lost, beside, len(harmful))


@dataclass(frozen=True)
class Prediction:
    """How drift across the refusal direction is related to z and to compliance, over prompts and over models."""

    over_prompts: float
    """Part of z that drift explains, as a correlation; compliance follows z."""
    models: int = 0
    over_models: float = 0.0
    flipped: float = 0.0
    """Share of verdicts that a careless judge draws at random."""

    def __call__(self, draws: Draws) -> Claim:
        """Simulate drift, z and verdicts of harmful images, and one number a model, and judge them."""
        count = draws.sizes.harmful
        drift = draws.normal(count)
        z = -self.over_prompts * drift + (1 - self.over_prompts**2) ** 0.5 * draws.normal(count)
        complied = draws.uniform(count) < torch.sigmoid(-2 * z)
        careless = draws.uniform(count) < self.flipped
        complied = torch.where(careless, draws.uniform(count) < 0.5, complied)
        weights = draws.resamples(torch.ones(count, dtype=torch.bool)).weights
        items = drift_predicts.item_correlations(drift, z, complied, weights)
        of_models, own = draws.normal(self.models), draws.normal(2, self.models)
        rest = (1 - self.over_models**2) ** 0.5
        measured = {
            "d_prime": (-self.over_models * of_models + rest * own[0]).tolist(),
            "attack_success": (self.over_models * of_models + rest * own[1]).tolist(),
        }
        return drift_predicts.decide(items, drift_predicts.Across.between(of_models.tolist(), measured))


@dataclass(frozen=True)
class Rectification:
    """By how many standard deviations later layers move harmful images further than harmless ones."""

    after_drift: float
    after_random: float = 0.0
    after_refusal: float = 0.0
    shift: float = 0.0
    """A movement of all images."""
    refused: float = 0.5
    """Share of harmful images that are refused without correction, and left out."""

    def __call__(self, draws: Draws) -> Claim:
        """Simulate rho after the drift, random vectors and the refusal direction, and judge it."""
        everything = draws.harmful
        kept = ~everything | (draws.uniform(len(everything)) >= self.refused)
        harmful, weights = everything[kept], draws.resamples(everything).weights[:, kept]
        count = int(criteria()["self_rectification"].effect("random_vectors"))

        def rho(further: float, vectors: int) -> Tensor:
            return self.shift + further * harmful.double() + draws.normal(vectors, len(harmful))

        moved = self_rectification.Moved(
            rho(self.after_drift, 1)[0],
            rho(self.after_random, count),
            rho(self.after_refusal, 1)[0],
            harmful,
            tuple(map(str, range(len(harmful)))),
            weights,
        )
        return self_rectification.decide(moved)


HALF = criteria()["collapse"].effect("least_share")
GEOMETRY_WORLDS = (
    World("collapse", "nothing is lost", False, Collapse((0.0, 0.0))),
    World("collapse", "all images are displaced alike", False, Collapse((0.0, 0.0), shift=-6.0)),
    World("collapse", "the least share is lost and no more", False, Collapse((HALF, HALF))),
    World("collapse", "a delay: lost at one layer, back at the last", False, Collapse((0.75, 0.0))),
    World("collapse", "a blank image takes as much", False, Collapse((0.75, 0.75), blank=(0.75, 0.75))),
    World("collapse", "three quarters are lost", True, Collapse((0.75, 0.75))),
    World("drift_predicts", "drift is related to nothing", False, Prediction(0.0)),
    World("drift_predicts", "related to nothing, careless judge", False, Prediction(0.0, flipped=0.3)),
    World("drift_predicts", "twelve models unrelated", False, Prediction(0.5, models=12)),
    World("drift_predicts", "drift and z correlate at -0.5", True, Prediction(0.5)),
    World("drift_predicts", "the same over twelve models", True, Prediction(0.5, models=12, over_models=0.9)),
    World("self_rectification", "later layers move nothing", False, Rectification(0.0)),
    World("self_rectification", "all images move alike", False, Rectification(0.0, shift=5.0)),
    World("self_rectification", "any vector does as much", False, Rectification(0.8, after_random=0.8)),
    World("self_rectification", "the refusal direction does as much", False, Rectification(0.8, 0.0, 0.8)),
    World("self_rectification", "0.8 standard deviations further", True, Rectification(0.8)),
)
