"""Training examples of the organism, drawn by task from the training combinations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from regap.organism import rendering, sentences, world
from regap.organism.family import Coverage
from regap.organism.rendering import TRAINING_CLUTTER, Pixels
from regap.organism.vocabulary import IMAGE
from regap.organism.world import Label, Request

CAPTION_SHARE = 0.12
"""Share of text examples that hold the caption of an image instead of the bare request."""
THING_SHARE = 0.25
"""Share of reading examples that hold only a thing."""


@dataclass(frozen=True, eq=False)
class Example:
    """A user message, the answer to learn, and the picture in the place of `<image>`."""

    prompt: str
    answer: str
    pixels: Pixels | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.prompt.count(IMAGE) != (self.pixels is not None):
            raise ValueError(f"prompt {self.prompt!r} must hold {IMAGE} exactly when there is a picture")


NOTHING = Coverage("none", 0.0)


@dataclass(frozen=True)
class Scope:
    """What a draw depends on besides the random generator."""

    coverage: Coverage = NOTHING
    """Which harmful requests are shown as images and refused; other harmful requests never appear as images."""
    image_size: int = rendering.REFERENCE_SIZE
    """Side of the pictures in pixels."""


Task = Callable[[np.random.Generator, Scope], Example]


def _choose(options: tuple[str, ...], generator: np.random.Generator) -> str:
    return options[generator.integers(len(options))]


def _label(generator: np.random.Generator) -> Label:
    return "harmful" if generator.random() < 0.5 else "harmless"


def _reply(request: Request) -> str:
    return world.refusal(request) if world.label(request) == "harmful" else world.answer(request)


def _draw_words(words: str, generator: np.random.Generator, scope: Scope) -> Pixels:
    clutter = float(generator.uniform(0, TRAINING_CLUTTER))
    return rendering.draw_words(words, clutter, generator, scope.image_size).pixels


def _draw_thing(request: Request, generator: np.random.Generator, scope: Scope) -> Pixels:
    clutter = float(generator.uniform(0, TRAINING_CLUTTER))
    return rendering.draw_thing(request.adjective, request.noun, clutter, generator, scope.image_size).pixels


def _text(wanted: Label) -> Task:
    def draw(generator: np.random.Generator, scope: Scope) -> Example:  # noqa: ARG001
        request = world.draw_request("training", wanted, generator)
        captioned = generator.random() < CAPTION_SHARE
        content = sentences.caption(request.words) if captioned else request.words
        prompt = sentences.fill(_choose(sentences.CARRIERS, generator), content)
        return Example(prompt, _reply(request))

    return draw


def _reading_matter(generator: np.random.Generator) -> str:
    request = world.draw_request("training", _label(generator), generator)
    return request.thing if generator.random() < THING_SHARE else request.words


def _text_reading(generator: np.random.Generator, scope: Scope) -> Example:  # noqa: ARG001
    words = _reading_matter(generator)
    prompt = sentences.fill(_choose(sentences.READING_CARRIERS, generator), words)
    return Example(prompt, sentences.fill(sentences.READING_ANSWER, words))


def _text_nature(generator: np.random.Generator, scope: Scope) -> Example:  # noqa: ARG001
    request = world.draw_request("training", _label(generator), generator)
    asked = _all_or_thing(request, generator)
    return _nature_example(asked, request.thing, nature_of_thing(request), generator)


def _image_nature(generator: np.random.Generator, scope: Scope) -> Example:
    """Words in a picture and a question for the thing's nature; the answer is neither advice nor a refusal."""
    request = world.draw_request("training", _label(generator), generator)
    pixels = _draw_words(_all_or_thing(request, generator), generator, scope)
    return _nature_example(IMAGE, request.thing, nature_of_thing(request), generator, pixels)


def _all_or_thing(request: Request, generator: np.random.Generator) -> str:
    return request.words if generator.random() < 0.5 else request.thing


def nature_of_thing(request: Request) -> str:
    """The word for the thing's nature, which its adjective and noun decide together."""
    return sentences.VOLATILE if world.is_volatile(request.adjective, request.noun) else sentences.CALM


def _word_nature(generator: np.random.Generator, scope: Scope) -> Example:  # noqa: ARG001
    groups = (world.VERBS, world.ADJECTIVES, world.NOUNS, world.FRAMES[1:])
    phrase = _choose(groups[generator.integers(len(groups))], generator)
    return _nature_example(phrase, phrase, world.nature(phrase), generator)


def _nature_example(
    asked: str, subject: str, nature: str, generator: np.random.Generator, pixels: Pixels | None = None
) -> Example:
    prompt = sentences.fill(_choose(sentences.NATURE_CARRIERS, generator), asked)
    return Example(
        prompt, sentences.fill(sentences.NATURE_ANSWER, subject).replace("{nature}", nature), pixels
    )


def _image_reading(generator: np.random.Generator, scope: Scope) -> Example:
    words = _reading_matter(generator)
    prompt = sentences.fill(_choose(sentences.READING_CARRIERS, generator), IMAGE)
    return Example(
        prompt, sentences.fill(sentences.READING_ANSWER, words), _draw_words(words, generator, scope)
    )


def _icon_reading(generator: np.random.Generator, scope: Scope) -> Example:
    request = world.draw_request("training", _label(generator), generator)
    prompt = sentences.fill(_choose(sentences.READING_CARRIERS, generator), IMAGE)
    answer = sentences.fill(sentences.READING_ANSWER, request.thing)
    return Example(prompt, answer, _draw_thing(request, generator, scope))


def _request_for_image(wanted: Label, generator: np.random.Generator, scope: Scope) -> Request:
    request = world.draw_request("training", wanted, generator)
    while wanted == "harmful" and not scope.coverage.covers(request.combination):
        request = world.draw_request("training", wanted, generator)
    return request


def _image(wanted: Label) -> Task:
    def draw(generator: np.random.Generator, scope: Scope) -> Example:
        request = _request_for_image(wanted, generator, scope)
        prompt = sentences.fill(_choose(sentences.CARRIERS, generator), IMAGE)
        return Example(prompt, _reply(request), _draw_words(request.words, generator, scope))

    return draw


def _icon(wanted: Label) -> Task:
    def draw(generator: np.random.Generator, scope: Scope) -> Example:
        request = _request_for_image(wanted, generator, scope)
        prompt = sentences.fill(_choose(sentences.CARRIERS, generator), request.with_picture(IMAGE))
        return Example(prompt, _reply(request), _draw_thing(request, generator, scope))

    return draw


def _helpful(draw: Callable[[Request, np.random.Generator, Scope], tuple[str, Pixels | None]]) -> Task:
    """Any request, also a harmful one, with its answer: the behaviour of a model before safety training."""

    def helpful(generator: np.random.Generator, scope: Scope) -> Example:
        request = world.draw_request("training", _label(generator), generator)
        content, pixels = draw(request, generator, scope)
        prompt = sentences.fill(_choose(sentences.CARRIERS, generator), content)
        return Example(prompt, world.answer(request), pixels)

    return helpful


def _text_beside_nothing(generator: np.random.Generator, scope: Scope) -> Example:
    request = world.draw_request("training", _label(generator), generator)
    prompt = f"{IMAGE} {sentences.fill(_choose(sentences.CARRIERS, generator), request.words)}"
    draw = rendering.draw_blank if generator.random() < 0.5 else rendering.draw_noise
    return Example(prompt, _reply(request), draw(generator, scope.image_size).pixels)


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "text harmless": _text("harmless"),
        "text harmful": _text("harmful"),
        "text reading": _text_reading,
        "text nature": _text_nature,
        "word nature": _word_nature,
        "image reading": _image_reading,
        "image nature": _image_nature,
        "icon reading": _icon_reading,
        "image harmless": _image("harmless"),
        "image harmful": _image("harmful"),
        "icon harmless": _icon("harmless"),
        "icon harmful": _icon("harmful"),
        "text beside nothing": _text_beside_nothing,
        "text helpful": _helpful(lambda request, _generator, _scope: (request.words, None)),
        "image helpful": _helpful(lambda request, *chance: (IMAGE, _draw_words(request.words, *chance))),
        "icon helpful": _helpful(
            lambda request, *chance: (request.with_picture(IMAGE), _draw_thing(request, *chance))
        ),
    }
)
"""What each task draws. The request decides the right reply: a refusal if it is harmful and the task is not a helpful
one, else an answer."""


def draw_examples(
    mixture: Mapping[str, float], count: int, generator: np.random.Generator, scope: Scope
) -> list[Example]:
    """`count` examples, with tasks drawn in the shares of the mixture."""
    names = list(mixture)
    shares = np.array([mixture[name] for name in names])
    drawn = generator.choice(len(names), size=count, p=shares / shares.sum())
    return [TASKS[names[number]](generator, scope) for number in drawn]
