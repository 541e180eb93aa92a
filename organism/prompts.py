"""Held-out requests as pairs: every arm of a pair asks for the same thing in the same carrier sentence."""

import hashlib
import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from types import MappingProxyType
from typing import Any

import numpy as np

from regap.errors import PairError
from regap.geometry.data.pairs import Pair, Pairs, Picture, Prompt, Split
from regap.geometry.one_or_several import as_names
from regap.organism import rendering, sentences, world
from regap.organism.rendering import CLEAN, CLUTTERED, HEAVY, Rendering
from regap.organism.vocabulary import IMAGE
from regap.organism.world import Label, Request


@dataclass(frozen=True)
class HeldOut:
    """How many held-out pairs are drawn, in which arms, and from which seed."""

    calibration: int = 300
    """Pairs of each label in the calibration split."""
    test_harmful: int = 300
    test_harmless: int = 600
    seed: int = 0
    image_size: int = rendering.REFERENCE_SIZE
    arms: tuple[str, ...] = ()
    """The arms to render; empty for all."""

    def __post_init__(self) -> None:
        smallest = min(self.calibration, self.test_harmful, self.test_harmless)
        if smallest < 1:
            raise ValueError(f"a count is {smallest}; every split needs at least 1 pair of each label")
        if unknown := set(self.arms) - set(ARMS):
            raise ValueError(f"arms names {sorted(unknown)}; the organism has {', '.join(ARMS)}")


@dataclass(frozen=True)
class Draft:
    """A request, its carrier and a random generator of its own, from which one prompt is made."""

    request: Request
    carrier: str
    generator: np.random.Generator
    image_size: int


Arm = Callable[[Draft], Prompt]


def organism_pairs(**sizes: Any) -> Pairs:
    """Return held-out pairs of the organism's world; keywords as in HeldOut: calibration, test_harmful, arms, ..."""
    if "arms" in sizes:
        sizes["arms"] = as_names(sizes["arms"])
    return held_out_pairs(HeldOut(**sizes))


def held_out_pairs(config: HeldOut) -> Pairs:
    """The pairs of the calibration and test splits. No training stage contains any of their combinations.

    The same config gives the same bytes. Cluster intervals by combination, which is the pair's cluster.
    """
    counts: dict[tuple[Split, Label], int] = {
        ("calibration", "harmful"): config.calibration,
        ("calibration", "harmless"): config.calibration,
        ("test", "harmful"): config.test_harmful,
        ("test", "harmless"): config.test_harmless,
    }
    drawn = [
        pair_of(config, f"{split}-{wanted}-{number:04d}", split, number, request)
        for (split, wanted), count in counts.items()
        for number, request in enumerate(_requests(config.seed, split, wanted, count))
    ]
    return Pairs(tuple(drawn))


def _requests(seed: int, split: Split, wanted: Label, count: int) -> list[Request]:
    """Requests of the split and label. Combinations repeat only once a category has run out of them."""
    generator = _generator(seed, split, wanted)
    decks: dict[world.Category, list[Request]] = {}
    drawn = []
    for _ in range(count):
        kind = world.draw_category(wanted, generator)
        if not decks.get(kind):
            combinations = world.combinations(split, kind)
            decks[kind] = [combinations[n] for n in generator.permutation(len(combinations))]
        drawn.append(world.with_context(decks[kind].pop(), generator))
    return drawn


def pair_of(config: HeldOut, name: str, split: Split, number: int, request: Request) -> Pair:
    """The request as a pair of this name, in the arms of the config. Its number chooses the carrier sentence."""
    carrier = sentences.CARRIERS[number % len(sentences.CARRIERS)]
    arms = config.arms or tuple(ARMS)
    prompts = {
        arm: ARMS[arm](Draft(request, carrier, _generator(config.seed, name, arm), config.image_size))
        for arm in dict.fromkeys(("text", *arms))
    }
    return Pair(
        pair_id=name,
        label=world.label(request),
        category=world.category(request),
        request=request.words,
        split=split,
        prompts=prompts,
        answer=world.answer(request),
        cluster=request.combination,
    )


def _generator(*parts: object) -> np.random.Generator:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _picture(drawn: Rendering) -> Picture:
    buffer = io.BytesIO()
    drawn.image().save(buffer, "PNG", compress_level=1)
    return Picture(buffer.getvalue())


def _text(draft: Draft) -> Prompt:
    return Prompt(sentences.fill(draft.carrier, draft.request.words))


def _caption(draft: Draft) -> Prompt:
    return Prompt(sentences.fill(draft.carrier, sentences.caption(draft.request.words)))


def _typographic(clutter: float) -> Arm:
    def arm(draft: Draft) -> Prompt:
        drawn = rendering.draw_words(draft.request.words, clutter, draft.generator, draft.image_size)
        return Prompt(sentences.fill(draft.carrier, IMAGE), (_picture(drawn),))

    return arm


def _icon(draft: Draft) -> Prompt:
    request = draft.request
    drawn = rendering.draw_thing(request.adjective, request.noun, CLEAN, draft.generator, draft.image_size)
    return Prompt(sentences.fill(draft.carrier, request.with_picture(IMAGE)), (_picture(drawn),))


def _beside(draw: Callable[[np.random.Generator, int], Rendering]) -> Arm:
    def arm(draft: Draft) -> Prompt:
        words = sentences.fill(draft.carrier, draft.request.words)
        return Prompt(f"{IMAGE} {words}", (_picture(draw(draft.generator, draft.image_size)),))

    return arm


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        "text": _text,
        "typographic": _typographic(CLEAN),
        "typographic-cluttered": _typographic(CLUTTERED),
        "typographic-heavy": _typographic(HEAVY),
        "picture": _icon,
        "caption": _caption,
        "blank": _beside(rendering.draw_blank),
        "noise": _beside(rendering.draw_noise),
    }
)
"""How each arm presents the request."""


def contrast_pairs(
    count: int,
    *,
    seed: int = 0,
    arms: tuple[str, ...] = (),
    without: Collection[str] = (),
    split: Split = "test",
) -> Pairs:
    """Return harmless pairs of a split whose thing is volatile, with fictional frames and protective verbs in turn.

    Their combinations appear in no training stage and not in `without`. The same arguments give the same bytes. Raises
    PairError if the world has too few.
    """
    generator = np.random.default_rng([seed, count])
    fictional = world.combinations(split, "fictional")
    protective = [
        one for one in world.combinations(split, "protective") if world.is_volatile(one.adjective, one.noun)
    ]
    decks = [_shuffled(deck, without, generator) for deck in (fictional, protective)]
    dealt = [request for turn in zip_longest(*decks) for request in turn if request][:count]
    if len(dealt) < count or count < 1:
        raise PairError(
            f"{count} contrasts were asked for; the world has 1 to {len(dealt)} that are not asked already"
        )
    config = HeldOut(seed=seed, arms=arms)
    made: list[Pair] = []
    named = "contrast" if split == "test" else f"contrast-{split}"
    for number, request in enumerate(dealt):
        whole = world.with_context(request, generator)
        made.append(pair_of(config, f"{named}-{number:04d}", split, number, whole))
    return Pairs(tuple(made))


def _shuffled(
    deck: Collection[Request], without: Collection[str], generator: np.random.Generator
) -> list[Request]:
    kept = [request for request in deck if request.combination not in without]
    return [kept[place] for place in generator.permutation(len(kept))]
