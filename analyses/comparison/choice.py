"""Choose site and strength of a method: most refusals of harmful calibration images within the budget.

All methods share one grid of layers and strengths at the last prompt token and, if asked, a smaller one at image
tokens; a method that rewrites prompts has neither. Methods whose formula names other sites have grids of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from regap.analyses.calibration.budgets import Budgets, most_refusals_within
from regap.analyses.runs.calibrated import choose_corrections, correctable, regap_of
from regap.analyses.runs.measured import Measured, are_harmful, are_refusals
from regap.errors import ConfigError, one_line
from regap.geometry.data.pairs import IMAGE_SLOT, Pairs
from regap.geometry.forward.hooks import Edit
from regap.geometry.models.model import Model
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.defences.catalogue import METHODS, DefenceEntry
from regap.interventions.edits.site import Site
from regap.interventions.rewriting import Rewrite
from regap.interventions.sweep import sweep
from regap.interventions.wording import PLAIN, Wording
from regap.organism import sentences

POSITIONS = ("last", "image")
"""Where methods that act at one layer may act: the last prompt token, or the tokens of images or sounds."""
IMAGE_STRENGTHS = (0.25, 0.5, 1.0)
"""Strengths that are tried at image tokens, in a method's natural unit; each takes passes over whole prompts."""
EARLY = 3
"""Most blocks that are tried at image tokens, evenly spread over the first half."""


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


def positions_of(told: str) -> tuple[str, ...]:
    """Return the positions in a string such as last,image; raises ConfigError for anything else."""
    found = tuple(part.strip() for part in told.split(","))
    if len(set(found)) < len(found) or not set(found) <= set(POSITIONS):
        raise ConfigError(f"positions are {one_line(told, 60)!r}; write last, image or last,image")
    return found


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


def choose(
    seen: Measured,
    calibration: DefenceData,
    name: str,
    positions: Sequence[str] = ("last",),
    within: Budgets | None = None,
    contrasts: Pairs | None = None,
) -> ChosenDefence:
    """Return the method at the site and strength with the most harmful refusals within the budgets.

    positions: where methods that act at one layer may act; the earlier one on ties. within: by default the run's
    budget of harmless images. contrasts: calibration contrasts, for a budget of their own.
    """
    if METHODS[name].recipe:
        return _recipe(seen, name)
    candidates = _candidates(seen, calibration, name, positions)
    if len(candidates) == 1:
        return candidates[0]
    asked = seen.pairs.calibration.where(arm=seen.image_arm)
    runner, edits = (
        seen.runner.named(f"choosing layer and strength, {name}"),
        [one.edits for one in candidates],
    )
    every = [asked] if contrasts is None else [asked, contrasts.where(arm=seen.image_arm)]
    last = [seen.model.layers - 1]
    found = [sweep(runner, each, seen.image_arm, edits, seen.refusal, last).first_tokens for each in every]
    refused = are_refusals(torch.cat(found, 1), seen.refusal_tokens)
    contrast = torch.arange(refused.shape[1]) >= len(asked)
    harmful = torch.cat([are_harmful(each) for each in every])
    budgets = within or Budgets(seen.config.false_refusals)
    return candidates[most_refusals_within(refused, harmful, budgets, contrast)]


def _recipe(seen: Measured, name: str) -> ChosenDefence:
    """Return ReGap with the recipe chosen by cross-validation on calibration pairs."""
    _, _, choice, _ = choose_corrections(seen)
    regap, recipe = regap_of(seen, choice), choice.winner.recipe
    entry = replace(METHODS[name], readings=recipe.readings)
    return ChosenDefence(name, entry, regap.removed.site, recipe.correction.strength, [regap])


def _candidates(
    seen: Measured, calibration: DefenceData, name: str, positions: Sequence[str]
) -> list[ChosenDefence]:
    """Return the method at every site and strength that it may have."""
    entry = METHODS[name]
    sites = sites_of(entry, seen.model, correctable(seen.config, seen.model), positions, calibration)
    if entry.rewriting:
        return [ChosenDefence(name, entry, sites[0], 1.0, [], entry.rewriting(calibration))]
    found = []
    for site in sites:
        dose = entry.method(calibration, site)
        at_tokens = entry.where == "layer" and site.positions != "last"
        for strength in entry.strengths or (IMAGE_STRENGTHS if at_tokens else seen.config.strengths):
            found.append(ChosenDefence(name, entry, site, strength, dose(strength)))
    return found


def sites_of(
    entry: DefenceEntry,
    model: Model,
    correctable: Sequence[int],
    positions: Sequence[str],
    calibration: DefenceData,
) -> list[Site]:
    """Return the sites that a method is tried at; `correctable` are the blocks that may be corrected.

    Raises ConfigError if image tokens are asked for and the model has none, or no early block may be corrected.
    """
    blocks = tuple(layer for layer in range(model.layers) if layer not in model.crossing)
    if entry.rewriting or entry.where == "everywhere":
        return [Site(tuple(range(model.layers)), "all", "every_step")]
    if entry.where == "heads":
        return [Site(blocks, "last", "every_step")]
    if entry.where == "image":
        return [Site(blocks, calibration.media)]
    if entry.where == "window":
        starts = spread([layer for layer in correctable if 0 < layer < max(2, model.layers // 2)])
        return [Site((start, start + 1), calibration.media) for start in starts]
    last = [Site((layer,)) for layer in correctable] if "last" in positions or not entry.at_image else []
    if "image" not in positions or not entry.at_image:
        return last
    early = spread([layer for layer in correctable if layer < model.layers // 2])
    if not calibration.media_tokens or not early:
        reason = "names a block of the first half" if calibration.media_tokens else "has image tokens"
        raise ConfigError(
            f"positions name image, and neither --layers nor model {model.name} {reason}; leave image out"
        )
    return [*last, *(Site((layer,), calibration.media) for layer in early)]


def spread(layers: Sequence[int], most: int = EARLY) -> list[int]:
    """Return at most this many layers, evenly spread from the first one."""
    return list(layers[:: max(1, -(-len(layers) // most))])


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
