"""Pictures follow from their seed, hold all their words, and say where each word is."""

from itertools import product

import numpy as np
import pytest

from regap.organism import rendering, world
from regap.organism.world import Request

LONGEST = Request("provoke", "crooked", "whistle", "by the river", "before supper").words


def _generator() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("clutter", [rendering.CLEAN, rendering.CLUTTERED, rendering.HEAVY])
def test_the_same_seed_draws_the_same_pixels_and_another_seed_does_not(clutter):
    first = rendering.draw_words(LONGEST, clutter, _generator())
    again = rendering.draw_words(LONGEST, clutter, _generator())
    other = rendering.draw_words(LONGEST, clutter, np.random.default_rng(6))
    assert np.array_equal(first.pixels, again.pixels)
    assert first.marks == again.marks
    assert not np.array_equal(first.pixels, other.pixels)


def test_every_request_of_the_world_fits():
    for verb, noun, frame, context in product(world.VERBS, world.NOUNS, world.FRAMES, world.CONTEXTS):
        words = Request(verb, "crooked", noun, frame, context).words
        assert len(rendering.wrap(words, 11)) <= 6


@pytest.mark.parametrize("clutter", [rendering.CLEAN, rendering.HEAVY])
def test_all_words_lie_inside_the_picture_in_reading_order(clutter):
    generator = np.random.default_rng(0)
    for number in range(60):
        words = LONGEST if number == 0 else world.draw_request("test", "harmful", generator).words
        drawn = rendering.draw_words(words, clutter, generator)
        assert [mark.word for mark in drawn.marks] == words.split()
        for mark in drawn.marks:
            half = len(mark.word) * rendering.CELL_WIDTH / 2
            assert half <= mark.x <= rendering.REFERENCE_SIZE - half
            assert 5 <= mark.y <= rendering.REFERENCE_SIZE - 5


def test_a_word_is_where_its_mark_says():
    drawn = rendering.draw_words("lantern", rendering.CLEAN, _generator())
    dark = np.argwhere(drawn.pixels.mean(axis=2) < 120)
    row, column = dark.mean(axis=0)
    assert abs(row - drawn.marks[0].y) < 3
    assert abs(column - drawn.marks[0].x) < 4


def test_clutter_takes_contrast_and_adds_grain():
    grain = [
        np.median(np.abs(np.diff(_pixels(c), axis=0)))
        for c in (rendering.CLEAN, rendering.CLUTTERED, rendering.HEAVY)
    ]
    darkest = [np.percentile(_pixels(c), 2) for c in (rendering.CLEAN, rendering.CLUTTERED, rendering.HEAVY)]
    assert grain == sorted(grain)
    assert darkest == sorted(darkest)


def _pixels(clutter: float) -> np.ndarray:
    return rendering.draw_words(LONGEST, clutter, _generator()).pixels.astype(float)


def test_every_thing_has_a_picture_of_its_own():
    drawn = [
        rendering.draw_thing(a, n, rendering.CLEAN, _generator()).pixels
        for a in world.ADJECTIVES
        for n in world.NOUNS
    ]
    assert len({pixels.tobytes() for pixels in drawn}) == 256


def test_a_larger_size_gives_a_larger_picture():
    assert rendering.draw_words(LONGEST, 0.0, _generator(), 96).pixels.shape == (96, 96, 3)
    assert rendering.draw_thing("bitter", "kettle", 0.0, _generator(), 96).pixels.shape == (96, 96, 3)


def test_a_word_that_does_not_fit_is_an_error_with_a_remedy():
    with pytest.raises(ValueError, match="more than the 11 letters of a line; use a larger image"):
        rendering.draw_words("extraordinarily", 0.0, _generator())
    with pytest.raises(ValueError, match="use a larger image"):
        rendering.draw_words(" ".join(["lantern"] * 7), 0.0, _generator())
