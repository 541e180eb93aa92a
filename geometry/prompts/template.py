"""A model's chat template: how messages are written for it, its options, its date, and a limit of time."""

import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from threading import Lock, Timer, get_ident
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

from jinja2 import TemplateError, meta, nodes

from regap.errors import ModelError, first_line
from regap.geometry.models.model import Model
from regap.geometry.models.template_options import DAY, options_of, parsed, text_of

Content = Literal["parts", "words", "marked"]
"""parts: a list of texts and images; words: one string, with the processor's mark in the place of each image; marked:
a list that holds this string."""
SECONDS = 10.0
"""Most time for one prompt in a template whose loops could go on for ever."""
PROBE = "zqprobezq"
_NOW = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
_MARKS: "WeakKeyDictionary[Model, frozenset[str]]" = WeakKeyDictionary()
_STYLES: "WeakKeyDictionary[Model, tuple[str, Content]]" = WeakKeyDictionary()


class _TooLong(Exception):
    """A template did not end within its time."""


@dataclass(frozen=True)
class Message:
    """One message of a conversation: its texts, with an image between each two."""

    role: str
    words: tuple[str, ...]

    def parts(self) -> list[dict[str, str]]:
        """Return texts and images one by one."""
        found: list[dict[str, str]] = []
        for place, said in enumerate(self.words):
            found += [{"type": "image"}] if place else []
            found += [{"type": "text", "text": said}] if said else []
        return found


def apply_template(model: Model, messages: Sequence[Message]) -> str:
    """Return a conversation after the model's chat template, up to where the answer begins.

    Raises ModelError for a template that cannot be rendered, or that has no way to show an image.
    """
    return _rendered(model, messages, _style(model, any(len(each.words) > 1 for each in messages)))


def _style(model: Model, pictured: bool) -> Content:
    """Return how the template reads content; found out once by rendering a message in both ways."""
    text = text_of(model.processor)
    known = _STYLES.get(model)
    if known is None or known[0] != text:
        known = _STYLES[model] = (text, _found_style(model))
    if known[1] != "parts" and pictured:
        image_mark(model)  # refuses the prompt if there is none
    return known[1]


def _found_style(model: Model) -> Content:
    words, picture = [Message("user", (PROBE,))], [Message("user", ("", PROBE))]
    for style in get_args(Content):
        try:
            rendered = _rendered(model, words, style)
        except ModelError:
            continue
        listed = re.search(rf"""['"]text['"]:\s*['"]{PROBE}""", rendered)
        if PROBE not in rendered or listed:
            continue
        try:
            if style != "parts" or not model.sees_images or _rendered(model, picture, style) != rendered:
                return style
        except ModelError:
            continue
    return "parts"  # what is wrong is said when a prompt is rendered


def image_mark(model: Model) -> str:
    """Return the text that stands for an image in a prompt; raises ModelError if the processor does not say."""
    processor = model.processor
    found = getattr(processor, "boi_token", None) or getattr(processor, "image_token", None)
    if not isinstance(found, str) or model.image_numbering is not None:
        raise ModelError(
            f"model {model.name}: its chat template takes no images, and its processor does not say how a prompt "
            "shows one; set a processor.chat_template that reads a list of texts and images"
        )
    return found


def image_marks(model: Model) -> frozenset[str]:
    """Return the texts that the processor takes for an image, a video or a sound, or part of one."""
    if not model.sees_images:
        return frozenset()
    if model not in _MARKS:
        named = [value for name, value in vars(model.processor).items() if name.endswith("_token")]
        if model.image_token is not None:
            named.append(model.tokenizer.convert_ids_to_tokens(model.image_token))
        _MARKS[model] = frozenset(each for each in named if isinstance(each, str) and each.strip())
    return _MARKS[model]


def _rendered(model: Model, messages: Sequence[Message], style: Content) -> str:
    mark = image_mark(model) if style != "parts" and any(len(each.words) > 1 for each in messages) else ""
    content: dict[Content, Callable[[Message], Any]] = {
        "parts": Message.parts,
        "words": lambda each: mark.join(each.words),
        "marked": lambda each: [{"type": "text", "text": mark.join(each.words)}],
    }
    conversation = [{"role": each.role, "content": content[style](each)} for each in messages]
    text = text_of(model.processor)
    options: dict[str, Any] = {name: value for name, value in model.template.items() if name != "date"}
    day = date.fromisoformat(str(model.template.get("date", DAY)))
    if "strftime_now" in text:
        options["chat_template"] = _NOW.sub(lambda found: repr(day.strftime(found[2])), text)
    if "date_string" in options_of(text):
        options.setdefault("date_string", day.strftime("%d %b %Y"))
    try:
        with _limited(text):
            return model.processor.apply_chat_template(
                conversation, add_generation_prompt=True, tokenize=False, **options
            )
    except _TooLong:
        told = f"did not end within {SECONDS:.0f} seconds"
    except TemplateError as error:
        told = f"refuses the prompt ({first_line(error)})"
    except Exception as error:  # a template is a program, and fails in any way
        told = f"cannot be rendered ({type(error).__name__}: {first_line(error)})"
    opened = len(messages) > 1 and messages[0].role == "system"
    remedy = "ask without earlier turns" if len(messages) > 1 + opened else "set processor.chat_template"
    remedy = "ask without a system message" if opened and len(messages) == 2 else remedy
    raise ModelError(f"model {model.name}: its chat template {told}; {remedy}")


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
    return tree is not None and ("range" in meta.find_undeclared_variables(tree) or _depth(tree) > 2)


def _depth(node: nodes.Node) -> int:
    """Return how deeply loops, and macros with loops, are nested."""
    below = max(map(_depth, node.iter_child_nodes()), default=0)
    return below + isinstance(node, nodes.For | nodes.Macro)
