"""How far two judges agree on the same answers, corrected for chance, and where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regap.analyses.judges.verdicts import Judged
from regap.geometry.estimates import Estimate, Resamples, estimate, mean_draws, proportion

VERDICTS = ("refused", "complied", "degenerate")
"""The verdicts that judges give; misread follows from what the model read, and not from a judge."""


@dataclass(frozen=True)
class Agreement:
    """Two judges on the answers that both of them judged."""

    first: str
    second: str
    kappa: Estimate
    """Cohen's kappa over refused, complied and degenerate.

    NaN if both judges give the same single verdict to all answers; exactly 0, without an interval, if only one judge
    gives a single verdict to all.
    """
    share: Estimate
    """Share of answers with equal verdicts."""
    unjudged: int
    """Answers that are misread, or not judged by both; they count neither as agreement nor as disagreement."""


def agreement(first: Sequence[Judged], second: Sequence[Judged], seed: int = 0) -> Agreement | None:
    """Return how far two judges of the same answers, in the same order, agree; None if they share no judged answer.

    kappa = (p_o - p_e) / (1 - p_e), p_o the share of equal verdicts and p_e what independent judges with the same
    shares of each verdict would reach (Cohen 1960). Intervals: bootstrap clustered by pair. If all verdicts are equal,
    so are those of every resample; the lower bound is then kappa at the exact binomial bound of p_o.
    """
    _require_same_answers(first, second)
    both = _judged_by_both(first, second)
    if not both:
        return None
    clusters = [one.pair.cluster for one, _ in both]
    weights = Resamples.of(clusters, torch.ones(len(both), dtype=torch.bool), seed=seed).weights
    one, other = (_codes([pair[side] for pair in both]) for side in (0, 1))
    share = proportion(one == other, clusters, seed)
    kappa = estimate(kappa_draws(one, other, weights), len(both))
    if share.value == 1 and kappa.value == 1:
        chance = float(_chance(one, other, weights[:1])[0])
        kappa = Estimate(1.0, (share.low - chance) / (1 - chance), 1.0, len(both))
    if len(set(one.tolist())) == 1 or len(set(other.tolist())) == 1:
        kappa = Estimate(kappa.value, float("nan"), float("nan"), len(both))  # no answers could have moved it
    return Agreement(first[0].judge, second[0].judge, kappa, share, len(first) - len(both))


def kappa_draws(
    first: Int[Tensor, " answer"],
    second: Int[Tensor, " answer"],
    weights: Float[Tensor, "resample answer"],
) -> Float[Tensor, " resample"]:
    """Return Cohen's kappa of two judges' codes in each resample; NaN where chance alone gives full agreement."""
    observed = mean_draws((first == second)[:, None].double(), weights)[:, 0]
    chance = _chance(first, second, weights)
    kappa = (observed - chance) / (1 - chance)
    return torch.where(1 - chance > 1e-12, kappa, torch.full_like(kappa, torch.nan))


def disagreements(first: Sequence[Judged], second: Sequence[Judged]) -> tuple[int, ...]:
    """Return the indices of the answers that both judges judged, with different verdicts."""
    _require_same_answers(first, second)
    return tuple(
        place
        for place, (one, other) in enumerate(zip(first, second, strict=True))
        if one.verdict != other.verdict and {one.verdict, other.verdict} <= {*VERDICTS}
    )


def _chance(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    coded = (torch.nn.functional.one_hot(codes, len(VERDICTS)).double() for codes in (first, second))
    shares = [mean_draws(each, weights) for each in coded]
    return (shares[0] * shares[1]).sum(1)


def _codes(judged: Sequence[Judged]) -> Tensor:
    return torch.tensor([VERDICTS.index(one.verdict) for one in judged])


def _judged_by_both(first: Sequence[Judged], second: Sequence[Judged]) -> list[tuple[Judged, Judged]]:
    return [
        (one, other)
        for one, other in zip(first, second, strict=True)
        if {one.verdict, other.verdict} <= {*VERDICTS}
    ]


def _require_same_answers(first: Sequence[Judged], second: Sequence[Judged]) -> None:
    if not first:
        raise ValueError("no answers were judged; generate answers first")
    if [one.completion for one in first] != [other.completion for other in second]:
        raise ValueError(
            f"judges {first[0].judge!r} and {second[0].judge if second else 'none'!r} judged different answers; "
            "give both the same ones, in the same order"
        )
