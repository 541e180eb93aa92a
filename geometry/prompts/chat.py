"""A prompt after the chat template, and the role of each of its characters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from jinja2 import TemplateError

from regap.errors import ModelError
from regap.geometry.data.pairs import IMAGE_SLOT, Prompt, Turn
from regap.geometry.models.model import Model

TokenRole = Literal["user", "system", "earlier"]
"""user: the words of the message; system: the system message; earlier: the turns before the message."""
SYSTEM = "zqsystemzq"
"""Marker for the system message, to find where the template puts it."""


@dataclass(frozen=True)
class Span:
    """Characters of a rendered prompt that belong to a message and not to the template."""

    start: int
    end: int
    """Index of the first character after them."""
    role: TokenRole


def render(model: Model, prompt: Prompt) -> str:
    """Return the prompt after the chat template, up to where the answer begins.

    Raises ModelError if the prompt has images and the model takes none, and if the template refuses the prompt or
    leaves out part of its text.
    """
    if prompt.pictures and not model.sees_images:
        raise ModelError(
            f"model {model.name} reads text only; leave out arms with pictures, or give a vision-language model"
        )
    words = prompt.text.split(IMAGE_SLOT)
    rendered = _apply(model, words, prompt.system, prompt.turns)
    for said in (*words, prompt.system or "", *(turn.text for turn in prompt.turns)):
        if said.strip() not in rendered:
            raise ModelError(
                f"model {model.name}: its chat template leaves out {said.strip()[:60]!r}; "
                "ask without a system message or earlier turns, or set another processor.chat_template"
            )
    return rendered


def spans(model: Model, prompt: Prompt) -> list[Span]:
    """Return the spans of the messages in the rendered prompt, in order.

    The template is rendered with markers in place of the messages, which shows what it writes between them. Raises
    ModelError if it writes something else around the messages themselves.
    """
    words = prompt.text.split(IMAGE_SLOT)
    said = {f"zq{place}zq": each for place, each in enumerate(words) if each}
    said |= {SYSTEM: prompt.system} if prompt.system else {}
    turns = {f"zqturn{place}zq": turn for place, turn in enumerate(prompt.turns)}
    said |= {mark: turn.text for mark, turn in turns.items()}
    roles: dict[str, TokenRole] = {SYSTEM: "system", **dict.fromkeys(turns, "earlier")}
    marked = _apply(
        model,
        [f"zq{place}zq" if each else "" for place, each in enumerate(words)],
        SYSTEM if prompt.system else prompt.system,
        [replace(turn, text=mark) for mark, turn in turns.items()],
    )
    rendered, found = render(model, prompt), []
    literal, *pieces = re.split("(" + "|".join(said) + ")", marked)
    cursor = len(literal)
    for mark, after in zip(pieces[::2], pieces[1::2], strict=True):
        length = _length(rendered, cursor, said[mark], after)
        if length is None:
            raise ModelError(
                f"model {model.name}: its chat template changes {said[mark][:60]!r}, so its tokens cannot be found; "
                "use positions last, image or all"
            )
        found.append(Span(cursor, cursor + length, roles.get(mark, "user")))
        cursor += length + len(after)
    return found


def _length(rendered: str, cursor: int, said: str, after: str) -> int | None:
    """Return the length of a message in the rendered prompt, perhaps without its spaces; None if it is not there."""
    for kept in (said, said.rstrip(), said.lstrip(), said.strip()):
        if rendered.startswith(kept + after, cursor):
            return len(kept)
    return None


def _apply(model: Model, words: Sequence[str], system: str | None = None, turns: Sequence[Turn] = ()) -> str:
    content: list[dict[str, Any]] = []
    for place, said in enumerate(words):
        content += [{"type": "image"}] if place else []
        content += [{"type": "text", "text": said}] if said else []
    conversation: list[dict[str, Any]] = [
        {"role": turn.role, "content": [{"type": "text", "text": turn.text}]} for turn in turns
    ]
    conversation.append({"role": "user", "content": content})
    if system is not None:
        conversation.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    try:
        return model.processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
    except TemplateError as error:
        if turns:
            remedy = "ask without earlier turns"
        else:
            remedy = "ask without a system message" if system is not None else "set processor.chat_template"
        raise ModelError(
            f"model {model.name}: its chat template refuses the prompt ({error}); {remedy}"
        ) from None
