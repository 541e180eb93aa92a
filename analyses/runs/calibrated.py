"""A model observed, with the corrections set: everything that is chosen is chosen here, on calibration pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from regap.analyses.judges.first_token_answers import judged_by_first_token
from regap.analyses.judges.registry import judge_for
from regap.analyses.runs.measured import Measured
from regap.analyses.calibration.choice import Choice, SignalReadings, best_fixed, candidates, choose, further_removals, read_all
from regap.analyses.calibration.evidence import Evidence, Removals, gather
from regap.analyses.runs.progress import Tracker, silent
from regap.analyses.judges.verdicts import Judge, Judged, judge_all, opens_with_refusal
from regap.geometry.forward.hooks import Edit
from regap.geometry.data.pairs import Pairs
from regap.errors import PairError
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.recipe import Recipe, Removal
from regap.interventions.edits.regap import ReGap


@dataclass(frozen=True, eq=False)
class Calibrated:
    """An observed model with the corrections that were set on its calibration pairs."""

    seen: Measured
    fixed: Shift
    regap: ReGap
    judge: Judge = field(repr=False)
    refusal_tokens: frozenset[int] = field(repr=False)
    """First tokens of refusals, found in the model's own answers to calibration texts."""
    readings: SignalReadings = field(repr=False)
    """What the signals that recipes may read say of calibration pairs."""
    choice: Choice = field(repr=False)
    """Why ReGap is what it is."""
    folder: Path | None = None
    """Where answers are kept, so that none is generated twice."""
    track: Tracker = field(default=silent, repr=False)
    first_tokens: bool = False
    """Judge by the first token alone, refusal or not: a pass of one token in place of each answer."""

    @property
    def conditions(self) -> dict[str, list[Edit]]:
        """The three conditions that everything is reported under."""
        return {"baseline": [], "fixed": [self.fixed], "regap": [self.regap]}

    def answers(
        self, arm: str, conditions: Mapping[str, Sequence[Edit]], pairs: Pairs | None = None
    ) -> dict[str, tuple[Judged, ...]]:
        """Return judged answers of test pairs in an arm under each condition."""
        asked = (pairs or self.seen.pairs.test).where(arm=arm)
        if self.first_tokens:
            advance = self.track(f"first tokens, {arm}, {len(conditions)} conditions", len(asked))
            return judged_by_first_token(self.seen, asked, arm, conditions, self.refusal_tokens, advance)
        return judged_answers(self.seen, self.judge, asked, arm, conditions, self.folder, self.track)


def judged_answers(
    seen: Measured,
    judge: Judge,
    asked: Pairs,
    arm: str,
    conditions: Mapping[str, Sequence[Edit]],
    folder: Path | None = None,
    track: Tracker = silent,
) -> dict[str, tuple[Judged, ...]]:
    """Return judged answers of these pairs in an arm under each condition; those that the folder keeps are used."""
    advance = track(f"answers, {arm}, {len(conditions)} conditions", len(asked) * len(conditions))
    found = seen.generate(asked, arm, conditions, folder, advance)
    return {name: judge_all(judge, asked, answers) for name, answers in found.items()}


def calibrate(seen: Measured, folder: Path | None = None, track: Tracker = silent) -> Calibrated:
    """Return the study with site, fixed strength and ReGap chosen on calibration pairs alone."""
    judge = judge_for(seen.pairs, seen.config.judge)
    tokens = find_refusal_tokens(seen, folder, track)
    fixed, readings, choice = choose_corrections(seen, tokens, track)
    shift = fixed.shift(seen.drift, seen.refusal)
    return Calibrated(seen, shift, regap_of(seen, choice), judge, tokens, readings, choice, folder, track)


def choose_corrections(
    seen: Measured, tokens: frozenset[int], track: Tracker = silent
) -> tuple[Removal, SignalReadings, Choice]:
    """Return the best fixed strength, what recipes read on calibration pairs, and the recipe chosen."""
    asked = seen.pairs.calibration.where(arm=seen.image_arm)
    strengths, layers = seen.config.strengths, seen.model.layers

    def what(removals: Sequence[Removals], told: str) -> Evidence:
        return gather(seen, asked, removals, tokens, track(told, len(asked)))

    each = [(Removal(layer, strength),) for layer in range(layers - 1) for strength in strengths]
    evidence = what([(), *each], "choosing layer and strength")
    fixed = best_fixed(evidence, seen.config.false_refusals)
    evidence = evidence.joined(what(further_removals(fixed, strengths), "choosing ReGap's recipe"))
    recipes = [one for one in candidates(layers, fixed, strengths) if _asked_for(one, seen)]
    readings = read_all(evidence, recipes, seen.config.seed)
    return fixed, readings, choose(readings, recipes, seen.config.false_refusals)


def _asked_for(recipe: Recipe, seen: Measured) -> bool:
    return seen.config.signal in ("auto", recipe.signal)


def regap_of(seen: Measured, choice: Choice) -> ReGap:
    """Return the chosen recipe as an edit; a gate that opens slowly keeps the hard one's threshold."""
    recipe = replace(choice.winner.recipe, gate=seen.config.gate)
    return replace(choice.winner, recipe=recipe).regap(seen.drift, seen.refusal)


def find_refusal_tokens(seen: Measured, folder: Path | None, track: Tracker) -> frozenset[int]:
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
