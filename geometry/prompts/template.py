"""A model's chat template: how messages are written for it, its options, its date, and a limit of time."""

import ctypes
import math
import re
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import zip_longest
from threading import Lock, Timer, get_ident
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

from jinja2 import TemplateError, nodes

from regap.errors import ModelError, first_line
from regap.geometry.models.model import Model
from regap.geometry.models.template_options import DAY, options_of, parsed, text_of

Medium = Literal["image", "audio"]
Content = Literal["parts", "words", "marked"]
"""parts: a list of texts, images and sounds; words: one string, with the processor's marks in the place of images and
sounds; marked: a list that holds this string."""
SECONDS = 10.0
"""Most time for one prompt in a template whose loops could go on for ever."""
ANOTHER = "set another processor.chat_template (in Python only)"
PROBE = "zqprobezq"
_NOW = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
_MARKS: "WeakKeyDictionary[Model, frozenset[str]]" = WeakKeyDictionary()
_STOPPED: dict[str, int] = {}
"""Templates that were stopped, each with the number of letters of the shortest prompt that did not end."""
_STYLES: "WeakKeyDictionary[Model, tuple[str, Content]]" = WeakKeyDictionary()


class _TooLong(Exception):
    """A template did not end within its time."""


@dataclass(frozen=True)
class Message:
    """One message of a conversation: its texts, with an image or a sound between each two."""

    role: str
    words: tuple[str, ...]
    between: tuple[Medium, ...] = ()
    """What stands between the texts: one fewer than there are texts."""

    def parts(self) -> list[dict[str, str]]:
        """Return texts, images and sounds one by one."""
        found: list[dict[str, str]] = []
        for said, medium in zip_longest(self.words, self.between):
            found += [{"type": "text", "text": said}] if said else []
            found += [{"type": medium}] if medium else []
        return found

    def marked(self, model: Model) -> str:
        """Return one string, with the processor's marks in the place of images and sounds."""
        marks = [mark_of(model, medium) for medium in self.between]
        return "".join(said + mark for said, mark in zip_longest(self.words, marks, fillvalue=""))


def apply_template(model: Model, messages: Sequence[Message]) -> str:
    """Return a conversation after the model's chat template, up to where the answer begins.

    Raises ModelError for a template that cannot be rendered, or that has no way to show an image or a sound.
    """
    media: set[Medium] = {medium for each in messages for medium in each.between}
    return _rendered(model, messages, _style(model, media))


def _style(model: Model, media: Set[Medium]) -> Content:
    """Return how the template reads content; found out once by rendering a message in both ways."""
    text = text_of(model.processor)
    known = _STYLES.get(model)
    if known is None or known[0] != text:
        known = _STYLES[model] = (text, _found_style(model))
    for medium in media if known[1] != "parts" else ():
        mark_of(model, medium)  # refuses the prompt if there is none
    return known[1]


def _found_style(model: Model) -> Content:
    words = [Message("user", (PROBE,))]
    able: dict[Medium, bool] = {"image": model.sees_images, "audio": model.hears}
    probes = [[Message("user", ("", PROBE), (medium,))] for medium, may in able.items() if may]
    for style in get_args(Content):
        try:
            rendered = _rendered(model, words, style)
        except ModelError:
            continue
        listed = re.search(rf"""['"]text['"]:\s*['"]{PROBE}""", rendered)
        if PROBE not in rendered or listed:
            continue
        try:
            if (
                style != "parts"
                or not probes
                or any(_rendered(model, each, style) != rendered for each in probes)
            ):
                return style
        except ModelError:
            continue
    return "parts"  # what is wrong is said when a prompt is rendered


def mark_of(model: Model, medium: Medium) -> str:
    """Return the text that stands for an image or a sound in a prompt; raises ModelError if it is not known."""
    processor = model.processor
    found = getattr(processor, f"{medium}_token", None)
    if medium == "image":
        found = getattr(processor, "boi_token", None) or found
    if not isinstance(found, str) or model.image_numbering is not None:
        name = {"image": "images", "audio": "sounds"}[medium]
        raise ModelError(
            f"model {model.name}: its chat template takes no {name}, and its processor does not say how a prompt "
            f"has one; set a processor.chat_template that reads a list of texts and {name} (in Python only)"
        )
    return found


def marks_of(model: Model) -> frozenset[str]:
    """Return the texts that the processor takes for an image, a video or a sound, or part of one."""
    if not model.sees_images and not model.hears:
        return frozenset()
    if model not in _MARKS:
        named = [value for name, value in vars(model.processor).items() if name.endswith("_token")]
        placed = [each for each in (model.image_token, model.audio_token) if each is not None]
        named += model.tokenizer.convert_ids_to_tokens(placed)
        _MARKS[model] = frozenset(each for each in named if isinstance(each, str) and each.strip())
    return _MARKS[model]


def _rendered(model: Model, messages: Sequence[Message], style: Content) -> str:
    text, letters = text_of(model.processor), sum(len(said) for each in messages for said in each.words)
    try:
        if letters >= _STOPPED.get(text, math.inf):
            raise _TooLong(" for an earlier prompt, which was no longer")
        return _unchecked(model, messages, style)
    except _TooLong as error:
        _STOPPED[text] = min(letters, _STOPPED.get(text, letters))
        told, remedy = f"did not end within {SECONDS:.0f} seconds{error}", ANOTHER
    except TemplateError as error:
        told, remedy = f"refuses the prompt ({first_line(error)})", _remedy(model, messages, style)
    except Exception as error:  # a template is a program, and fails in any way
        told = f"cannot be rendered ({type(error).__name__}: {first_line(error)})"
        remedy = _remedy(model, messages, style)
    raise ModelError(f"model {model.name}: its chat template {told}; {remedy}")


def _remedy(model: Model, messages: Sequence[Message], style: Content) -> str:
    """Return what to leave out of a prompt that fails; found by rendering it without."""
    system = [each for each in messages[:-1] if each.role == "system"]
    turns = [each for each in messages[:-1] if each.role != "system"]
    for told, left in (
        ("a system message", [*turns, messages[-1]] if system else None),
        ("earlier turns", [*system, messages[-1]] if turns else None),
        ("a system message and earlier turns", [messages[-1]] if system and turns else None),
    ):
        with suppress(Exception):
            if left and _unchecked(model, left, style):
                return f"ask without {told}"
    return ANOTHER


def _unchecked(model: Model, messages: Sequence[Message], style: Content) -> str:
    """Return a conversation after the template; raises whatever the template raises."""
    content: dict[Content, Callable[[Message], Any]] = {
        "parts": Message.parts,
        "words": lambda each: each.marked(model),
        "marked": lambda each: [{"type": "text", "text": each.marked(model)}],
    }
    conversation = [{"role": each.role, "content": content[style](each)} for each in messages]
    text = text_of(model.processor)
    options: dict[str, Any] = {name: value for name, value in model.template.items() if name != "date"}
    day = date.fromisoformat(str(model.template.get("date", DAY)))
    if "strftime_now" in text:
        options["chat_template"] = _NOW.sub(lambda found: repr(day.strftime(found[2])), text)
    if "date_string" in options_of(text):
        options.setdefault("date_string", day.strftime("%d %b %Y"))
    with _limited(text):
        return model.processor.apply_chat_template(
            conversation, add_generation_prompt=True, tokenize=False, **options
        )


@contextmanager
def _limited(template: str) -> Iterator[None]:
    """Stop a template that counts to a number or loops in loops of loops; all others end with the prompt."""
    if not _may_go_on(template):
        yield
        return
    owner, over, turn = get_ident(), [False], Lock()

    def stop() -> None:
        with turn:
            if not over[0]:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(owner), ctypes.py_object(_TooLong))

    timer = Timer(SECONDS, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with turn:
            over[0] = True
        timer.cancel()


@lru_cache(maxsize=64)
def _may_go_on(template: str) -> bool:
    tree = parsed(template)
    if tree is None:
        return False
    return any(each.name == "range" for each in tree.find_all(nodes.Name)) or _depth(tree) > 2


def _depth(node: nodes.Node) -> int:
    """Return how deeply loops, and macros with loops, are nested."""
    below = max(map(_depth, node.iter_child_nodes()), default=0)
    return below + isinstance(node, nodes.For | nodes.Macro)
