"""Choose site and strength of a method: most refusals of harmful calibration images within the budget.

All methods share one grid of layers and strengths, at the last prompt token; a method that rewrites prompts has
neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from regap.analyses.calibration.choice import most_refusals_within_budget
from regap.analyses.runs.calibrated import choose_corrections, correctable, regap_of
from regap.analyses.runs.measured import Measured, are_harmful, are_refusals
from regap.errors import ConfigError
from regap.geometry.data.pairs import IMAGE_SLOT, Pairs
from regap.geometry.forward.hooks import Edit
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.defences.catalogue import METHODS, DefenceEntry
from regap.interventions.edits.site import Site
from regap.interventions.rewriting import Rewrite
from regap.interventions.sweep import sweep
from regap.interventions.wording import PLAIN, Wording
from regap.organism import sentences


@dataclass(frozen=True, eq=False)
class ChosenDefence:
    """One method with its chosen site and strength, or with its rewriting of prompts."""

    name: str
    entry: DefenceEntry
    site: Site
    strength: float
    edits: Sequence[Edit] = field(repr=False)
    rewrite: Rewrite | None = field(default=None, repr=False)
    """If given, prompts are rewritten and nothing is edited."""

    @property
    def acts_at(self) -> str:
        """Where the method acts, in words."""
        if self.rewrite:
            return "the prompt"
        return str(self.site) if self.edits else "nowhere"


def check_names(names: Sequence[str]) -> None:
    """Raise ConfigError for an unknown method."""
    for name in names:
        if name not in METHODS:
            raise ConfigError(f"method is {name!r}; choose from {', '.join(METHODS)}")


def lacking(arms: Sequence[str]) -> dict[str, str]:
    """Return the methods that lack an arm, each with the reason and the remedy."""
    found = {}
    for name, entry in METHODS.items():
        if missing := entry.missing(arms):
            arm = "blank-colour" if missing[0] == "neutral" else missing[0]
            found[name] = (
                f"it needs an arm {missing[0]} and the pairs have {', '.join(arms)}; add --make {arm}"
            )
    return found


def available(names: Sequence[str], arms: Sequence[str]) -> list[str]:
    """Return the methods to compare, `none` first; raises ConfigError if one that was named lacks an arm."""
    reasons = lacking(arms)
    for name in names:
        if name in reasons:
            raise ConfigError(f"method {name} cannot be compared: {reasons[name]}")
    return list(dict.fromkeys(["none", *(name for name in names or METHODS if name not in reasons)]))


def calibration_of(seen: Measured, pairs: Pairs) -> DefenceData:
    """Return the data that methods may be fitted on: calibration states, and the refused calibration images.

    pairs: every pair that will be asked, contrasts included.
    """
    return DefenceData(
        seen.runner,
        pairs,
        seen.image_arm,
        {arm: found.calibration for arm, found in seen.states.items()},
        seen.refusal,
        seen.drifts,
        seen.layer,
        seen.config.false_refusals,
        seen.refusal_tokens,
        refused_images(seen),
        ORGANISM if seen.is_organism else PLAIN,
    )


def refused_images(seen: Measured) -> frozenset[str]:
    """Return the calibration pairs that the unedited model refuses in the corrected arm, by its first token."""
    asked = seen.pairs.calibration.where(arm=seen.image_arm)
    found = sweep(seen.runner, asked, seen.image_arm, [[]], seen.refusal, [seen.model.layers - 1])
    refused = are_refusals(found.first_tokens, seen.refusal_tokens)[0].tolist()
    return frozenset(pair.pair_id for pair, is_refused in zip(asked, refused, strict=True) if is_refused)


def choose(seen: Measured, calibration: DefenceData, name: str) -> ChosenDefence:
    """Return the method at the site and strength with the most harmful refusals within the budget of harmless ones."""
    if METHODS[name].recipe:
        return _recipe(seen, name)
    candidates = _candidates(seen, calibration, name)
    if len(candidates) == 1:
        return candidates[0]
    asked = seen.pairs.calibration.where(arm=seen.image_arm)
    runner, edits = (
        seen.runner.named(f"choosing layer and strength, {name}"),
        [one.edits for one in candidates],
    )
    found = sweep(runner, asked, seen.image_arm, edits, seen.refusal, [seen.model.layers - 1])
    refused = are_refusals(found.first_tokens, seen.refusal_tokens)
    return candidates[most_refusals_within_budget(refused, are_harmful(asked), seen.config.false_refusals)]


def _recipe(seen: Measured, name: str) -> ChosenDefence:
    """Return ReGap with the recipe chosen by cross-validation on calibration pairs."""
    _, _, choice, _ = choose_corrections(seen)
    regap, recipe = regap_of(seen, choice), choice.winner.recipe
    entry = replace(METHODS[name], readings=recipe.readings)
    return ChosenDefence(name, entry, regap.removed.site, recipe.correction.strength, [regap])


def _candidates(seen: Measured, calibration: DefenceData, name: str) -> list[ChosenDefence]:
    """Return the method at every layer but the last and every strength; only one site if it acts everywhere."""
    entry, layers = METHODS[name], range(seen.model.layers)
    everywhere = Site(tuple(layers), "all", "every_step")
    if entry.rewriting:
        return [ChosenDefence(name, entry, everywhere, 1.0, [], entry.rewriting(calibration))]
    sites = (
        [everywhere]
        if entry.everywhere
        else [Site((layer,)) for layer in correctable(seen.config, seen.model)]
    )
    found = []
    for site in sites:
        dose = entry.method(calibration, site)
        for strength in entry.strengths or seen.config.strengths:
            found.append(ChosenDefence(name, entry, site, strength, dose(strength)))
    return found


ORGANISM = Wording(
    name="the organism's own sentences, the warning in English",
    careful=PLAIN.careful,  # it was taught no such sentence, and does not know most of these words
    judge=sentences.fill(sentences.NATURE_CARRIERS[1], "{answer}"),
    cleared=sentences.CALM,
    describe=sentences.fill(sentences.READING_CARRIERS[1], IMAGE_SLOT).replace(IMAGE_SLOT, "{images}"),
    description=sentences.fill(sentences.READING_ANSWER, "{caption}"),
    described=sentences.caption("{caption}"),
    in_place=True,
)
"""The organism judges the nature of the thing in its answer, not harm; it describes a picture by its text."""
