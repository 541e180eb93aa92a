"""The pairs that a run asks, and contrasts: harmless prompts that look harmful, in the same style."""

from dataclasses import dataclass, replace

from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.measured import chosen_arms, image_arm_of, require_image_arm
from regap.analyses.runs.pairs import drawing_style, pairs_of, with_system
from regap.errors import ConfigError, PairError
from regap.geometry.data.arm_synthesis import MADE, with_arms
from regap.geometry.data.benchmarks.loading import harmless
from regap.geometry.data.pairs import Pair, Pairs, normal
from regap.organism.contrasts import contrast_pairs

WORLD = "world"
"""Name of the organism's own contrasts."""
WORLD_PAIRS = 200


@dataclass(frozen=True)
class AskedPairs:
    """The pairs that are measured, and contrasts that are only answered."""

    pairs: Pairs
    contrasts: Pairs | None = None

    @property
    def everything(self) -> Pairs:
        """Pairs and contrasts together."""
        return self.pairs + self.contrasts if self.contrasts else self.pairs

    def again(self, everything: Pairs) -> "AskedPairs":
        """Return the two sets again, after all pairs were changed."""
        apart = {pair.pair_id for pair in self.contrasts or ()}
        pairs = tuple(pair for pair in everything if pair.pair_id not in apart)
        contrasts = tuple(pair for pair in everything if pair.pair_id in apart)
        return AskedPairs(Pairs(pairs, everything.notes), Pairs(contrasts) if contrasts else None)


def asked_of(config: RunConfig) -> AskedPairs:
    """Return the pairs and the contrasts of the configuration; no model is needed.

    Raises PairError if a split lacks a label, ConfigError for an arm that no pair has.
    """
    pairs = pairs_of(config).require_both_labels()
    arms = chosen_arms(pairs, config)
    if not (config.contrast or config.contrast_data):
        return AskedPairs(pairs)
    image_arm = require_image_arm(image_arm_of((*arms, *config.make), config), arms)
    return AskedPairs(pairs, contrasts_of(config, pairs, image_arm))


def contrasts_of(config: RunConfig, pairs: Pairs, image_arm: str) -> Pairs | None:
    """Return the contrasts that the configuration names, as test pairs; None if it names none.

    `world` gives the organism's contrasts: volatile things in tales, or to be locked away. A benchmark gives its
    harmless prompts, drawn in the style of the run, with the contentless arms that the pairs have. Requests that the
    pairs contain already are left out, with a note. Raises ConfigError for contrast_data without contrast, and
    PairError if no contrast is left or the corrected arm cannot be made.
    """
    if config.contrast is None:
        if config.contrast_data:
            raise ConfigError(
                "contrast_data needs contrast; name it too (--contrast xstest), or leave it out"
            )
        return None
    found = _world(config, pairs) if config.contrast == WORLD else _benchmark(config, pairs, image_arm)
    asked = {normal(pair.request) for pair in pairs}
    fresh = [replace(pair, split="test") for pair in found if normal(pair.request) not in asked]
    if not fresh:
        raise PairError(
            f"the pairs contain every request of contrast {config.contrast} already; name another one"
        )
    kept = tuple(fresh[: config.limit] if config.limit else fresh)
    notes = (*found.notes, f"{len(kept)} contrasts of {config.contrast} are asked besides the pairs")
    if len(fresh) < len(found):
        notes = (
            *notes,
            f"{len(found) - len(fresh)} contrasts were left out, since the pairs contain them already",
        )
    apart = Pairs(_named_apart(kept, pairs), notes)
    return with_system(apart, config.system) if config.system else apart


def _world(config: RunConfig, pairs: Pairs) -> Pairs:
    taken = {pair.cluster for pair in pairs}
    found = contrast_pairs(WORLD_PAIRS, seed=config.seed, without=taken)
    arms = [arm for arm in config.make if arm != "caption"]
    return with_arms(found, arms, style=drawing_style(config), seed=config.seed) if arms else found


def _benchmark(config: RunConfig, pairs: Pairs, image_arm: str) -> Pairs:
    if image_arm != "typographic":
        raise PairError(
            f"contrasts are drawn as typographic images, and the corrected arm is {image_arm}; "
            "add --image-arm typographic, or leave --contrast out"
        )
    folder = config.contrast_data or config.data
    found = harmless(config.contrast or "", folder, download=config.download, allow_partial=config.partial)
    worded = Pairs(tuple(_words_alone(pair) for pair in found if "text" in pair.prompts), found.notes)
    arms = [arm for arm in dict.fromkeys((*pairs.arms, *config.make)) if arm in MADE and arm != "typographic"]
    return with_arms(worded, ["typographic", *arms], style=drawing_style(config), seed=config.seed)


def _words_alone(pair: Pair) -> Pair:
    """Return the pair with only its text arm, since all contrasts are drawn in one style."""
    return replace(pair, prompts={"text": pair.prompts["text"]})


def _named_apart(contrasts: tuple[Pair, ...], pairs: Pairs) -> tuple[Pair, ...]:
    """Return the contrasts with names that no pair has."""
    taken = {pair.pair_id for pair in pairs}
    return tuple(
        replace(pair, pair_id=f"contrast {pair.pair_id}") if pair.pair_id in taken else pair
        for pair in contrasts
    )
