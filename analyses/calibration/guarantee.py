"""A budget of false refusals with a guarantee: the threshold is set on harmless requests that chose nothing else.

A threshold that allows k false refusals among n such prompts has a true rate above the budget with a probability of at
most that of k or fewer in n binomial draws at the budget (Clopper and Pearson's bound, for an order statistic). The
largest k for which this is at most 1 - confidence is allowed. Refusals are those of first tokens, and those of whole
answers are among them. A budget that was met by the prompts that chose the recipe guarantees nothing: the best of many
recipes is lucky there. Prompts count as independent draws; where several belong to one request, less is guaranteed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from scipy.stats import beta, binom
from torch import Tensor

from regap.analyses.calibration.choice import Evidence, Trial, ends
from regap.errors import PairError
from regap.interventions.edits.gate import refusal_thresholds
from regap.interventions.edits.signals import FOLDS

HELD = 0.5
"""Share of harmless calibration requests that set the threshold."""


@dataclass(frozen=True)
class Guarantee:
    """What is known of the share of false refusals after calibration."""

    budget: float
    confidence: float
    prompts: int
    """Harmless calibration prompts that set the threshold and chose nothing else."""
    refused: int
    """Of these, refused under the chosen recipe."""

    @property
    def allowed(self) -> int:
        """Most refusals among these prompts that keep the guarantee; -1 if even none does not."""
        return allowed_refusals(self.prompts, self.budget, self.confidence)

    @property
    def is_given(self) -> bool:
        """True if the budget is kept with this confidence."""
        return self.refused <= self.allowed

    def __str__(self) -> str:
        counted = (
            f"{self.refused} of {self.prompts} harmless calibration prompts that chose nothing are refused"
        )
        if self.is_given:
            return f"{counted}: false refusals are within {self.budget:.1%} with {self.confidence:.0%} confidence"
        bound = float(beta.ppf(self.confidence, self.refused + 1, self.prompts - self.refused))
        least = prompts_needed(self.budget, self.confidence)
        return (
            f"{counted}: no guarantee of {self.budget:.1%} with {self.confidence:.0%} confidence, but of {bound:.1%}; "
            f"a guarantee takes at least {least} such prompts"
        )


def allowed_refusals(prompts: int, budget: float, confidence: float) -> int:
    """Return the most refusals among `prompts` that keep the true rate within the budget; -1 if there is no such."""
    likely = binom.cdf(np.arange(prompts + 1), prompts, budget)
    return int((likely <= 1 - confidence).sum()) - 1


def prompts_needed(budget: float, confidence: float) -> int:
    """Return the fewest prompts for a guarantee: so many that none is refused by luck with 1 - confidence."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - budget) - 1e-9)


def free_clusters(clusters: Sequence[str], harmful: Bool[Tensor, " prompt"]) -> list[str]:
    """Return the harmless requests, half of which set the threshold; raises PairError if too few are left to choose."""
    with_harm = {name for name, bad in zip(clusters, harmful.tolist(), strict=True) if bad}
    free = sorted(set(clusters) - with_harm)
    if len(free) < 2 * FOLDS:
        raise PairError(
            f"{len(free)} harmless calibration requests are too few for a guarantee (--confidence), since half of them "
            f"choose nothing; give at least {2 * FOLDS}, or leave it out"
        )
    return free


def divided(evidence: Evidence, seed: int) -> tuple[Evidence, Evidence]:
    """Return the evidence that chooses, and half of the harmless requests, which set the threshold alone.

    Prompts of one cluster stay together; a cluster with a harmful prompt chooses.
    """
    free = free_clusters(evidence.clusters, evidence.harmful)
    order = np.random.default_rng([seed, len(free)]).permutation(len(free))
    held = {free[place] for place in order[: round(HELD * len(free))]}
    kept = torch.tensor([name not in held for name in evidence.clusters])
    return evidence.take(kept), evidence.take(~kept)


def guaranteed(trial: Trial, held: Evidence, budget: float, confidence: float) -> tuple[Trial, Guarantee]:
    """Return the trial with the lowest threshold that keeps the guarantee on the held prompts, and what they tell.

    Where there are too few prompts for a guarantee, the trial is returned as it is.
    """
    recipe = trial.recipe
    signal = held.traces(recipe.probe, recipe.read_layers).weighted(trial.weights)
    closed, opened = (held.refusals(*removals) for removals in ends(recipe))
    allowed = allowed_refusals(len(signal), budget, confidence)
    gate = trial.gate
    if allowed >= 0:
        limit = refusal_thresholds(signal, closed, opened[None], allowed / len(signal))[0]
        gate = replace(gate, threshold=float(limit))
    refused = torch.where(signal > gate.threshold, opened, closed)
    return replace(trial, gate=gate), Guarantee(budget, confidence, len(signal), int(refused.sum()))
