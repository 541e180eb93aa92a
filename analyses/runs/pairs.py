"""The pairs of a run: from a file, a benchmark or the organism's world; its contrasts, and captions by the model."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.measured import chosen_arms, image_arm_of, require_image_arm
from regap.analyses.runs.written_settings import mapping_of
from regap.errors import ConfigError, PairError
from regap.geometry.data.arm_synthesis import MADE, with_arms
from regap.geometry.data.benchmarks.catalogue import card_of
from regap.geometry.data.benchmarks.loading import benchmark, harmless
from regap.geometry.data.benchmarks.twins import twins_together
from regap.geometry.data.pair_files import read_pairs
from regap.geometry.data.pairs import Label, Pair, Pairs, Split, is_media_arm, normal
from regap.geometry.data.rendering import style_of
from regap.geometry.forward.runner import Runner
from regap.geometry.models.loading import Model
from regap.interventions.generation import generate_each
from regap.interventions.wording import PLAIN
from regap.organism.prompts import HeldOut, contrast_pairs, held_out_pairs

DEMO_PAIRS = HeldOut(calibration=150, test_harmful=200, test_harmless=300)
"""Number of pairs of the organism's world, which are used if no pairs are named."""
FEWEST_HARMLESS = 200
"""A harmless source gives as many pairs as there are harmful ones, and at least this many if it has them."""


def pairs_of(config: RunConfig) -> Pairs:
    """Return the pairs of the configuration; raises ConfigError for settings that contradict one another."""
    if config.benchmark and config.pairs:
        raise ConfigError(
            f"benchmark is {config.benchmark!r} and pairs is {config.pairs!r}; name one of them"
        )
    if (config.harmless or config.data) and not config.benchmark:
        raise ConfigError("data and harmless need a benchmark; name it too (--benchmark), or leave them out")
    if (config.columns or config.labels or config.splits or config.arm_names) and not config.pairs:
        raise ConfigError(
            "columns, labels, splits and arm_names need a pairs file; name it too (--pairs), or leave them out"
        )
    style_of(config.style or "plain")  # an unknown style is refused even if nothing is drawn
    for arm in config.make:
        if arm not in (*MADE, "caption"):
            raise ConfigError(f"make is {arm!r}; choose from {', '.join(MADE)}, caption")
    if config.benchmark:
        if card_of(config.benchmark).purpose == "utility":
            raise ConfigError(
                f"benchmark {config.benchmark} has no harmful pairs, so it gives no refusal direction; use it with a "
                f"finished run: regap utility RUN --benchmark {config.benchmark}"
            )
        pairs = _benchmark_pairs(config, config.benchmark)
    elif config.pairs:
        columns = {there: here or None for there, here in mapping_of(config.columns).items()}
        pairs = read_pairs(
            config.pairs,
            columns=columns or None,
            labels=_values("labels", config.labels, Label) or None,
            splits=_values("splits", config.splits, Split) or None,
            arms=mapping_of(config.arm_names) or None,
        ).require_text()
    else:
        pairs = held_out_pairs(replace(DEMO_PAIRS, seed=config.seed))
    pairs = pairs.first(config.limit) if config.limit else pairs
    arms = [arm for arm in config.make if arm != "caption"]  # captions are written by the model
    made = with_arms(pairs, arms, **_making(config)) if arms else pairs
    made = with_system(made, config.system) if config.system else made
    return comparable(made) if config.benchmark else made


def with_system(pairs: Pairs, system: str) -> Pairs:
    """Return the pairs with this system message in every prompt that has none."""
    said = tuple(
        replace(
            pair,
            prompts={
                arm: prompt if prompt.system else replace(prompt, system=system)
                for arm, prompt in pair.prompts.items()
            },
        )
        for pair in pairs
    )
    return Pairs(said, pairs.notes)


def _values(setting: str, given: tuple[str, ...], allowed: Any) -> dict[Any, Any]:
    found, known = mapping_of(given), get_args(allowed)
    for there, here in found.items():
        if here not in known:
            raise ConfigError(f"{setting} map {there} to {here!r}; write one of {', '.join(known)}")
    return found


def comparable(pairs: Pairs) -> Pairs:
    """Return the pairs with only the arms that both labels have in both splits; a note names the other arms."""
    cells = {(split, label) for split in get_args(Split) for label in get_args(Label)}
    kept = [
        arm
        for arm in pairs.arms
        if cells == {(pair.split, pair.label) for pair in pairs if arm in pair.prompts}
    ]
    left_out = [arm for arm in pairs.arms if arm not in kept]
    if not left_out or not kept:
        return pairs
    narrowed = [replace(pair, prompts=_only(pair, kept)) for pair in pairs if _only(pair, kept)]
    note = f"left out, since not both labels have it in both splits: {', '.join(left_out)}"
    return Pairs(tuple(narrowed), (*pairs.notes, note))


def _only(pair: Pair, arms: Iterable[str]) -> dict:
    return {arm: pair.prompts[arm] for arm in arms if arm in pair.prompts}


def _benchmark_pairs(config: RunConfig, name: str) -> Pairs:
    """Return the pairs of a benchmark, with harmless pairs and an image arm added if it lacks them."""
    fetch, partial = config.download, config.partial
    pairs = benchmark(name, config.data, limit=config.limit, download=fetch, allow_partial=partial)
    if config.harmless or not any(pair.label == "harmless" for pair in pairs):
        count = max(FEWEST_HARMLESS, sum(pair.label == "harmful" for pair in pairs))
        source = config.harmless or "everyday"
        beside = harmless(source, config.data, count=count, download=fetch, allow_partial=partial)
        pairs = twins_together(pairs + beside)
    pairs = pairs.first(config.limit) if config.limit else pairs
    wanted = config.arms is None or "typographic" in config.arms
    if wanted and "typographic" not in config.make and not any(map(is_media_arm, comparable(pairs).arms)):
        pairs = with_arms(pairs, ["typographic"], **_making(config))
    return pairs


def _making(config: RunConfig) -> dict[str, Any]:
    """Return how arms are made, as arguments of `with_arms`."""
    return {
        "style": drawing_style(config),
        "voice": config.voice,
        "seed": config.seed,
        "allow_partial": config.partial,
    }


def drawing_style(config: RunConfig) -> str:
    """Return the style of made typographic images: that of the configuration, or else the benchmark's own."""
    if config.style:
        return config.style
    return card_of(config.benchmark).style if config.benchmark else "plain"


LONGEST = 128
"""Most tokens of a caption."""
DESCRIBED = "described"
"""The arm of the question for a caption, which is in no table."""


def with_captions(
    model: Model | Runner,
    pairs: Pairs,
    arm: str | None = None,
) -> Pairs:
    """Return the pairs with a `caption` arm: the message of another arm, with the model's captions for what it shows.

    arm: the arm of the images or sounds; by default each pair's first. A pair that has a caption arm already, or no
    such arm, is not changed. Captions are greedy, and kept in the runner's store by model, prompt, image and sound.
    """
    runner = Runner.of(model)
    chosen = {pair.pair_id: _image_arm(pair, arm) for pair in pairs}
    asking = tuple(
        replace(pair, prompts={DESCRIBED: PLAIN.description_of(pair.prompts[found])})
        for pair in pairs
        if (found := chosen[pair.pair_id]) is not None
    )
    if not asking:
        return pairs
    runner = runner.named(f"captions, {runner.model.name}")
    answers = generate_each(runner, Pairs(asking), DESCRIBED, {"": []}, max_new_tokens=LONGEST)[""]
    captions, made = {answer.pair_id: answer.text for answer in answers}, []
    for pair in pairs:
        prompts = dict(pair.prompts)
        if pair.pair_id in captions:
            shown = prompts[chosen[pair.pair_id] or ""]
            prompts["caption"] = PLAIN.without_pictures(shown, captions[pair.pair_id])
        made.append(replace(pair, prompts=prompts))
    note = f"{len(asking)} caption arms were made by the model {runner.model.name}"
    return Pairs(tuple(made), (*pairs.notes, note))


def _image_arm(pair: Pair, arm: str | None) -> str | None:
    if "caption" in pair.prompts:
        return None
    return next((name for name in pair.prompts if (name == arm if arm else is_media_arm(name))), None)


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


def contrasts_of(config: RunConfig, pairs: Pairs, image_arm: str, split: Split = "test") -> Pairs | None:
    """Return the contrasts that the configuration names, as pairs of this split; None if it names none.

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
    own = config.contrast == WORLD
    found = _world(config, pairs, split) if own else _benchmark(config, pairs, image_arm)
    asked = {normal(pair.request) for pair in pairs}
    fresh = [replace(pair, split=split) for pair in found if normal(pair.request) not in asked]
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


def divided_contrasts(config: RunConfig, pairs: Pairs, image_arm: str) -> tuple[Pairs, Pairs]:
    """Return contrasts that take part in calibration, and those that are asked as a test; no request is in both.

    The organism's world has its own of both splits. Those of a benchmark are divided in halves by request, with the
    seed of the run. Raises what `contrasts_of` raises, and PairError for fewer than two requests.
    """
    found = contrasts_of(config, pairs, image_arm)
    if found is None:
        raise ConfigError("no contrasts are named; name them (--contrast world, or a benchmark)")
    own = contrasts_of(config, pairs, image_arm, "calibration") if config.contrast == WORLD else None
    if own is not None:
        return own, found
    names = sorted({pair.cluster for pair in found})
    if len(names) < 2:
        raise PairError(
            f"contrast {config.contrast} has {len(names)} request, which cannot be divided; name another one"
        )
    order = np.random.default_rng([config.seed, len(names)]).permutation(len(names))
    held = {names[place] for place in order[: len(names) // 2]}
    calibration = tuple(replace(pair, split="calibration") for pair in found if pair.cluster in held)
    return Pairs(calibration), Pairs(tuple(pair for pair in found if pair.cluster not in held), found.notes)


def _world(config: RunConfig, pairs: Pairs, split: Split) -> Pairs:
    taken = {pair.cluster for pair in pairs}
    found = contrast_pairs(WORLD_PAIRS, seed=config.seed, without=taken, split=split)
    arms = [arm for arm in config.make if arm != "caption"]
    return with_arms(found, arms, **_making(config)) if arms else found


def _benchmark(config: RunConfig, pairs: Pairs, image_arm: str) -> Pairs:
    if image_arm not in MADE:
        raise PairError(
            f"contrasts are made as typographic images or speech, and the corrected arm is {image_arm}; "
            "add --image-arm typographic, or leave --contrast out"
        )
    folder = config.contrast_data or config.data
    found = harmless(config.contrast or "", folder, download=config.download, allow_partial=config.partial)
    # Only their text arm, since all contrasts are made in one style or voice.
    alone = [
        replace(pair, prompts={"text": pair.prompts["text"]}) for pair in found if "text" in pair.prompts
    ]
    worded = Pairs(tuple(alone), found.notes)
    arms = [arm for arm in dict.fromkeys((*pairs.arms, *config.make)) if arm in MADE and arm != image_arm]
    return with_arms(worded, [image_arm, *arms], **_making(config))


def _named_apart(contrasts: tuple[Pair, ...], pairs: Pairs) -> tuple[Pair, ...]:
    """Return the contrasts with names that no pair has."""
    taken = {pair.pair_id for pair in pairs}
    return tuple(
        replace(pair, pair_id=f"contrast {pair.pair_id}") if pair.pair_id in taken else pair
        for pair in contrasts
    )
