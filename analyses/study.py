"""A model observed, with the corrections set: everything that is chosen is chosen here, on calibration pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from regap.analyses.judges.registry import judge_for
from regap.analyses.observed import Observed
from regap.analyses.tracking import Tracker, silent
from regap.analyses.verdicts import Judge, Judged, judge_all, opens_with_refusal
from regap.geometry.forward import Edit
from regap.geometry.pairs import PairError, Pairs
from regap.interventions.fixed import Shift, fixed_correction
from regap.interventions.regap import ReGap, calibrate_regap
from regap.interventions.sites import Site
from regap.interventions.sweep import sweep


@dataclass(frozen=True, eq=False)
class Study:
    """An observed model with the corrections that were set on its calibration pairs."""

    seen: Observed
    fixed: Shift
    regap: ReGap
    judge: Judge = field(repr=False)
    refusal_tokens: frozenset[int] = field(repr=False)
    """First tokens of refusals, found in the model's own answers to calibration texts."""
    folder: Path | None = None
    """Where answers are kept, so that none is generated twice."""
    track: Tracker = field(default=silent, repr=False)

    @property
    def conditions(self) -> dict[str, list[Edit]]:
        """The three conditions that everything is reported under."""
        return {"baseline": [], "fixed": [self.fixed], "regap": [self.regap]}

    def answers(
        self, arm: str, conditions: Mapping[str, Sequence[Edit]], pairs: Pairs | None = None
    ) -> dict[str, tuple[Judged, ...]]:
        """Return judged answers of test pairs in an arm under each condition."""
        asked = (pairs or self.seen.pairs.test).where(arm=arm)
        advance = self.track(f"answers, {arm}, {len(conditions)} conditions", len(asked) * len(conditions))
        found = self.seen.generate(asked, arm, conditions, self.folder, advance)
        return {name: judge_all(self.judge, asked, answers) for name, answers in found.items()}


def calibrate(seen: Observed, folder: Path | None = None, track: Tracker = silent) -> Study:
    """Return the study with site, fixed strength and ReGap chosen on calibration pairs alone."""
    judge = judge_for(seen.pairs, seen.config.judge)
    tokens = find_refusal_tokens(seen, folder, track)
    layer, fixed = _best_fixed(seen, tokens, track)
    regap = _best_regap(seen, tokens, layer)
    return Study(seen, fixed, regap, judge, tokens, folder, track)


def find_refusal_tokens(seen: Observed, folder: Path | None, track: Tracker) -> frozenset[int]:
    """Return first tokens of refused harmful texts that open no answer to a harmless text."""
    asked = seen.pairs.calibration
    advance = track("answers, calibration texts", len(asked))
    answers = seen.generate(asked, "text", {"": []}, folder, advance)[""]
    label = {pair.pair_id: pair.label for pair in asked}
    refused = {one.first_token for one in answers if opens_with_refusal(one.text)}
    answered = {
        one.first_token
        for one in answers
        if label[one.pair_id] == "harmless" and not opens_with_refusal(one.text)
    }
    tokens = frozenset(refused - answered)
    if not tokens:
        raise PairError(
            f"model {seen.model.name} refuses none of the {len(asked)} calibration texts, or opens refusals as it "
            "opens answers; there is no refusal to restore: check the chat template and the pairs"
        )
    return tokens


def _best_fixed(seen: Observed, tokens: frozenset[int], track: Tracker) -> tuple[int, Shift]:
    """Return layer and strength that refuse most harmful images within the budget of harmless ones."""
    last = seen.model.layers - 1
    shifts = [
        fixed_correction(seen.drift, Site((layer,)), strength)
        for layer in range(last)
        for strength in seen.config.strengths
    ]
    asked = seen.pairs.calibration.where(arm=seen.image_arm)
    advance = track("choosing layer and strength", len(asked))
    found = sweep(
        seen.model,
        asked,
        seen.image_arm,
        [[shift] for shift in shifts],
        seen.refusal,
        [last],
        batch_size=seen.config.batch_size,
        batch_tokens=seen.config.batch_tokens,
        progress=advance,
    )
    refused = are_refusals(found.first_tokens, tokens)
    best = most_refusals_within_budget(refused, are_harmful(asked), seen.config.false_refusals)
    return shifts[best].site.layers[0], shifts[best]


def _best_regap(seen: Observed, tokens: frozenset[int], layer: int) -> ReGap:
    """Return ReGap at that layer, its strength the one that refuses most harmful images.

    The gate alone keeps to the budget: it opens for that share of harmless images, whatever the strength.
    """
    config, site = seen.config, Site((layer,))
    calibration = seen.pairs.calibration.where(arm=seen.image_arm)
    regap = calibrate_regap(
        seen.model,
        calibration,
        seen.refusal,
        seen.drift,
        site,
        strongest=1.0,
        false_refusals=config.false_refusals,
        signal=config.signal,
        gate=config.gate,
    )
    candidates = [replace(regap, strongest=strongest) for strongest in config.strengths]
    found = sweep(
        seen.model,
        calibration,
        seen.image_arm,
        [[candidate] for candidate in candidates],
        seen.refusal,
        [seen.model.layers - 1],
        batch_size=config.batch_size,
        batch_tokens=config.batch_tokens,
    )
    refused = are_refusals(found.first_tokens, tokens)
    return candidates[most_refusals_within_budget(refused, are_harmful(calibration), 1.0)]


def most_refusals_within_budget(refused: Tensor, harmful: Tensor, budget: float) -> int:
    """Return the row with the most harmful refusals of those within the budget, the mildest on ties."""
    on_harmful = refused[:, harmful].double().mean(1)
    on_harmless = refused[:, ~harmful].double().mean(1)
    allowed = on_harmless <= max(budget, float(on_harmless.min()))
    return int(torch.where(allowed, on_harmful, torch.full_like(on_harmful, -1.0)).argmax())


def are_refusals(first_tokens: Tensor, tokens: frozenset[int]) -> Tensor:
    """True where a first token opens a refusal."""
    return torch.isin(first_tokens, torch.tensor(sorted(tokens)))


def are_harmful(pairs: Pairs) -> Tensor:
    """True at harmful pairs, in their order."""
    return torch.tensor([pair.label == "harmful" for pair in pairs])
