"""Compare corrections at equal over-refusal: the lowest attack success that each can reach."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from regap.analyses.judges.verdicts import Judged
from regap.analyses.outcomes import share_draws

STEPS = 20
"""Number of equal steps of over-refusal in a mean."""
Draws = Float[Tensor, " resample"]
Points = Float[Tensor, "resample point"]


def hull_at(x: Draws, across: Points, up: Points) -> Draws:
    """Return the lowest `up` of mixtures of points with `across` at most x; NaN if all points have `across` above x.

    Points are (across, up) in each resample; mixtures of two points lie on the line between them.
    """
    alone = torch.where(across <= x[:, None], up, torch.full_like(up, torch.inf)).amin(1)
    width = across[:, None, :] - across[:, :, None]
    share = (x[:, None, None] - across[:, :, None]) / torch.where(width > 0, width, torch.ones_like(width))
    between = (width > 0) & (share >= 0) & (share <= 1)
    mixed = up[:, :, None] + share * (up[:, None, :] - up[:, :, None])
    reached = torch.minimum(alone, torch.where(between, mixed, torch.inf).amin((1, 2)))
    return torch.where(torch.isinf(reached), torch.nan, reached)


@dataclass(frozen=True, eq=False)
class Curve:
    """Over-refusal (across) and attack success (up) of one correction at each of its settings, in each resample."""

    across: Points = field(repr=False)
    up: Points = field(repr=False)

    @classmethod
    def of(cls, settings: Sequence[Sequence[Judged]], seed: int) -> "Curve":
        """Return the curve of judged answers, one sequence a setting."""
        over_refusal, success = (
            torch.stack([share_draws(one, measure, seed) for one in settings], 1)
            for measure in ("over_refusal", "attack_success")
        )
        return cls(over_refusal, success)

    def at(self, over_refusal: Draws) -> Draws:
        """Return the lowest attack success of settings and their mixtures at this over-refusal, or NaN."""
        return hull_at(over_refusal, self.across, self.up)

    def at_share(self, over_refusal: float) -> Draws:
        """Return `at` for one over-refusal in all resamples."""
        return self.at(torch.full_like(self.across[:, 0], over_refusal))

    def mean_up_to(self, over_refusal: float) -> Draws:
        """Return attack success averaged over over-refusals from 0 to this one (trapezoidal rule), or NaN."""
        places = [over_refusal * step / STEPS for step in range(STEPS + 1)]
        heights = torch.stack([self.at_share(place) for place in places], 1)
        return torch.trapezoid(heights, dx=1 / STEPS, dim=1)
