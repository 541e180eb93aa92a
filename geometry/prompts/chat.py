"""A prompt as the model reads it: after its chat template, and which of the characters are whose words."""

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
"""Stands in the place of the system's words while the template is asked where it puts them."""


@dataclass(frozen=True)
class Span:
    """Characters of a rendered prompt that somebody said, as opposed to those of the template."""

    start: int
    end: int
    """Of the first character after them."""
    speaker: TokenRole


def render(model: Model, prompt: Prompt) -> str:
    """Return the prompt as the model reads it, after the chat template, up to where its answer begins.

    Raises ModelError if the model sees no images and the prompt has some, and if the template refuses the prompt
    or leaves out any of its words.
    """
    if prompt.pictures and not model.sees_images:
        raise ModelError(
            f"model {model.name} reads words alone; leave out arms with pictures, or give a vision-language model"
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
    """Return whose words the rendered prompt holds, and where, in their order.

    The template itself is asked: rendered around marks in the words' place, it shows what it writes between them.
    Raises ModelError if it writes otherwise around other words.
    """
    words = prompt.text.split(IMAGE_SLOT)
    said = {f"zq{place}zq": each for place, each in enumerate(words) if each}
    said |= {SYSTEM: prompt.system} if prompt.system else {}
    turns = {f"zqturn{place}zq": turn for place, turn in enumerate(prompt.turns)}
    said |= {mark: turn.text for mark, turn in turns.items()}
    speakers: dict[str, TokenRole] = {SYSTEM: "system", **dict.fromkeys(turns, "earlier")}
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
                f"model {model.name}: its chat template changes {said[mark][:60]!r}, so its tokens cannot be told; "
                "use positions last, image or all"
            )
        found.append(Span(cursor, cursor + length, speakers.get(mark, "user")))
        cursor += length + len(after)
    return found


def _length(rendered: str, cursor: int, said: str, after: str) -> int | None:
    """Return how long the words are where they stand: some templates cut off the spaces around them."""
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
