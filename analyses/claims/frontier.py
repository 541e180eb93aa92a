"""Two ways of correcting compared at equal over-refusal: the lowest attack success that each can be had with."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from regap.analyses.judges.verdicts import Judged
from regap.analyses.outcomes import share_draws

STEPS = 20
"""Over how many equal parts of the over-refusals a mean is taken."""
Draws = Float[Tensor, " resample"]
Points = Float[Tensor, "resample point"]


def hull_at(x: Draws, across: Points, up: Points) -> Draws:
    """Return the lowest `up` that mixtures of points reach at most `x` across; NaN where every point lies above x.

    Points are (across, up) in each resample; a mixture of two points lies on the line between them.
    """
    points = across.shape[1]
    reached = torch.where(across <= x[:, None], up, torch.full_like(up, torch.inf)).amin(1)
    for i in range(points):
        for j in range(points):
            width = across[:, j] - across[:, i]
            share = (x - across[:, i]) / torch.where(width > 0, width, torch.ones_like(width))
            between = (width > 0) & (share >= 0) & (share <= 1)
            mixed = up[:, i] + share * (up[:, j] - up[:, i])
            reached = torch.where(between, torch.minimum(reached, mixed), reached)
    return torch.where(torch.isinf(reached), torch.nan, reached)


class Curve:
    """What one way of correcting does at each of its settings, resampled: over-refusal across, attack success up."""

    def __init__(self, settings: Sequence[Sequence[Judged]], seed: int):
        self.across = torch.stack([share_draws(one, "over_refusal", seed) for one in settings], 1)
        self.up = torch.stack([share_draws(one, "attack_success", seed) for one in settings], 1)

    def at(self, over_refusal: Draws) -> Draws:
        """Return the lowest attack success of settings, and mixtures of them, at this over-refusal, or NaN."""
        return hull_at(over_refusal, self.across, self.up)

    def at_share(self, over_refusal: float) -> Draws:
        """Return the same at one share."""
        return self.at(torch.full_like(self.across[:, 0], over_refusal))

    def mean_up_to(self, over_refusal: float) -> Draws:
        """Return attack success averaged over over-refusals from 0 to this one (trapezoid), or NaN."""
        places = [over_refusal * step / STEPS for step in range(STEPS + 1)]
        heights = torch.stack([self.at_share(place) for place in places], 1)
        return torch.trapezoid(heights, dx=1 / STEPS, dim=1)
