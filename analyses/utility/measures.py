"""Measures of marked answers: accuracy and other published measures, with clustered intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from regap.analyses.utility.marking import RULES, Marked, answer_of
from regap.analyses.utility.reading import choices_of
from regap.geometry.estimates import Estimate, Resamples, estimate, mean_draws, proportion

EVERYTHING = "all"
"""The category of rows over all questions."""
PERCEPTION = frozenset(
    ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
)
COGNITION = frozenset(
    ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
)


@dataclass(frozen=True)
class Hits:
    """The units that are counted (questions or groups of questions), and which of them are right."""

    names: tuple[str, ...]
    """Names of the units; units with equal names are compared between two conditions."""
    right: Bool[Tensor, " unit"]
    clusters: tuple[str, ...]


def each(answers: Sequence[Marked]) -> Hits:
    """Return each question as a unit."""
    return Hits(
        tuple(one.pair.pair_id for one in answers),
        torch.tensor([one.right for one in answers], dtype=torch.bool),
        tuple(one.pair.cluster for one in answers),
    )


def both_on_an_image(answers: Sequence[Marked]) -> Hits:
    """Return each MME image as a unit, right if both its questions are; an image with only one question is left out."""
    return _groups(answers, lambda one: one.pair.pair_id.rpartition("-")[0], lambda _: 2)


def every_rotation(answers: Sequence[Marked]) -> Hits:
    """Return each question as a unit, right if all its rotations are; a question without all rotations is left out."""
    return _groups(
        answers,
        lambda one: one.pair.pair_id.rpartition("+")[0],
        lambda one: len(choices_of(one.pair.request)),
    )


COUNTED: Mapping[str, Callable[[Sequence[Marked]], Hits]] = {
    "accuracy": each,
    "accuracy_plus": both_on_an_image,
    "circular_accuracy": every_rotation,
}
"""Measures that are a share of right units; conditions are compared by these."""


def measures(benchmark: str, answers: Sequence[Marked], seed: int = 0) -> dict[str, Estimate]:
    """Return the measures of a benchmark's rule over these answers; a measure without data is absent.

    Intervals are resampled by cluster; a share of exactly 0 or 1 has the exact binomial bound. Raises ValueError
    without answers.
    """
    if not answers:
        raise ValueError(f"there are no answers to {benchmark}; check the filters before it")
    found: dict[str, Estimate | None] = {}
    for name in ("accuracy", *RULES[benchmark].measures):
        if name in COUNTED:
            hits = COUNTED[name](answers)
            found[name] = proportion(hits.right, hits.clusters, seed) if hits.names else None
        elif name == "score":
            found[name] = mme_score(answers, seed)
        else:
            found[name] = _of_yes(name, answers, seed)
    for name, flags in (
        ("unread", [not one.readable for one in answers]),
        ("refused", [one.refused for one in answers]),
    ):
        found[name] = proportion(torch.tensor(flags), each(answers).clusters, seed)
    return {name: value for name, value in found.items() if value}


def by_category(benchmark: str, answers: Sequence[Marked], seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Return the measures over all answers and over each category; for MME also over perception and cognition."""
    kinds = dict.fromkeys(one.pair.category for one in answers)
    parts = {EVERYTHING: list(answers)}
    if benchmark == "mme":
        parts |= {
            name: [one for one in answers if one.pair.category in members]
            for name, members in (("perception", PERCEPTION), ("cognition", COGNITION))
        }
    if len(kinds) > 1:
        parts |= {kind: [one for one in answers if one.pair.category == kind] for kind in kinds}
    return {name: measures(benchmark, part, seed) for name, part in parts.items() if part}


def mme_score(answers: Sequence[Marked], seed: int = 0) -> Estimate | None:
    """Return the sum over categories of 100 (accuracy + accuracy+), each out of 200; None without complete images.

    As in the published score, only images with two answered questions count. There is no interval if all resamples
    must be equal.
    """
    kinds: dict[str, list[Marked]] = {}
    for one in answers:
        kinds.setdefault(one.pair.category, []).append(one)
    total, count = torch.zeros(1), 0
    for kind in kinds.values():
        plus = both_on_an_image(kind)
        kept = [one for one in kind if one.pair.pair_id.rpartition("-")[0] in plus.names]
        if not kept:
            continue
        for hits in (each(kept), plus):
            weights = Resamples.of(hits.clusters, torch.ones_like(hits.right), seed=seed).weights
            total = total + 100 * mean_draws(hits.right[:, None].double(), weights)[:, 0]
        count += len(kept)
    return estimate(total, count) if count else None


def _of_yes(name: str, answers: Sequence[Marked], seed: int) -> Estimate | None:
    """Return precision, recall, F1 or share of yes, with yes as positive; None if the denominator is 0.

    F1 is a rising function of the share of true positives among answers that are yes or were called yes, so its
    interval is the transformed interval of that share.
    """
    said = torch.tensor([one.said == "yes" for one in answers])
    true = torch.tensor([answer_of(one.pair).lower().strip(". ") == "yes" for one in answers])
    base = {"precision": said, "recall": true, "f1": said | true, "yes_share": torch.ones_like(said)}[name]
    hits = said if name == "yes_share" else said & true
    if not base.any():
        return None
    clusters = [one.pair.cluster for one, kept in zip(answers, base.tolist(), strict=True) if kept]
    share = proportion(hits[base], clusters, seed)
    if name != "f1":
        return share
    value, low, high = (2 * one / (1 + one) for one in (share.value, share.low, share.high))
    return Estimate(value, low, high, share.n)


def _groups(answers: Sequence[Marked], key: Callable[[Marked], str], size: Callable[[Marked], int]) -> Hits:
    groups: dict[str, list[Marked]] = {}
    for one in answers:
        groups.setdefault(key(one), []).append(one)
    whole = {name: group for name, group in groups.items() if len(group) == size(group[0])}
    return Hits(
        tuple(whole),
        torch.tensor([all(one.right for one in group) for group in whole.values()], dtype=torch.bool),
        tuple(group[0].pair.cluster for group in whole.values()),
    )
