"""The pairs of a run: from a file, from a benchmark with harmless pairs added, or from the organism's world."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, get_args

from regap.analyses.runs.config import RunConfig, mapping_of
from regap.errors import ConfigError
from regap.geometry.data.arm_synthesis import MADE, with_arms
from regap.geometry.data.benchmarks.catalogue import card_of
from regap.geometry.data.benchmarks.loading import benchmark, harmless
from regap.geometry.data.benchmarks.twins import twins_together
from regap.geometry.data.pair_files import read_pairs
from regap.geometry.data.pairs import Label, Pair, Pairs, Split, is_image_arm
from regap.geometry.data.rendering import style_of
from regap.organism.prompts import HeldOut, held_out_pairs

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
    made = with_arms(pairs, arms, style=drawing_style(config), seed=config.seed) if arms else pairs
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
    if "typographic" not in config.make and not any(map(is_image_arm, comparable(pairs).arms)):
        pairs = with_arms(pairs, ["typographic"], style=drawing_style(config), seed=config.seed)
    return pairs


def drawing_style(config: RunConfig) -> str:
    """Return the style of made typographic images: that of the configuration, or else the benchmark's own."""
    if config.style:
        return config.style
    return card_of(config.benchmark).style if config.benchmark else "plain"
