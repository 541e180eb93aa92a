"""A prompt after the chat template, and the role of each of its characters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from regap.errors import ModelError, PairError
from regap.geometry.data.pairs import IMAGE_SLOT, SOUND_SLOT, Prompt, Turn
from regap.geometry.data.sounds import SHORTEST
from regap.geometry.models.model import Model
from regap.geometry.prompts.template import Medium, Message, apply_template, marks_of

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

    Raises ModelError if the prompt has images or sounds and the model takes none, and if the template refuses the
    prompt or leaves out part of its text; PairError for a sound longer than the model hears, and for words that the
    processor would take for an image or a sound.
    """
    if prompt.pictures and not model.sees_images:
        raise ModelError(
            f"model {model.name} takes no images; leave out arms with pictures, or give a vision-language model"
        )
    if prompt.sounds and not model.hears:
        raise ModelError(
            f"model {model.name} takes no sounds; leave out arms of speech, or give a model that hears, such as "
            "Qwen2.5-Omni or Qwen2-Audio"
        )
    _check_lengths(model, prompt)
    words = prompt.words
    _check_no_marks(model, prompt, words)
    rendered = _apply(model, prompt, words, prompt.system, prompt.turns)
    for said in (*words, prompt.system or "", *(turn.text for turn in prompt.turns)):
        if said.strip() not in rendered:
            raise ModelError(
                f"model {model.name}: its chat template leaves out {said.strip()[:60]!r}; "
                "ask without a system message or earlier turns, or set another processor.chat_template (in Python only)"
            )
    return rendered


def spans(model: Model, prompt: Prompt) -> list[Span]:
    """Return the spans of the messages in the rendered prompt, in order.

    The template is rendered with markers in place of the messages, which shows what it writes between them. Raises
    ModelError if it writes something else around the messages themselves.
    """
    words = prompt.words
    said = {f"zq{place}zq": each for place, each in enumerate(words) if each}
    said |= {SYSTEM: prompt.system} if prompt.system else {}
    turns = {f"zqturn{place}zq": turn for place, turn in enumerate(prompt.turns)}
    said |= {mark: turn.text for mark, turn in turns.items()}
    if not said:  # a picture or a sound alone
        return []
    roles: dict[str, TokenRole] = {SYSTEM: "system", **dict.fromkeys(turns, "earlier")}
    marked = _apply(
        model,
        prompt,
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
                "use position last, image or audio (--position), or all (in Python only)"
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


def _apply(
    model: Model, prompt: Prompt, words: Sequence[str], system: str | None, turns: Sequence[Turn]
) -> str:
    """Return the rendered prompt with these words in the place of its own."""
    media: dict[str, Medium] = {IMAGE_SLOT: "image", SOUND_SLOT: "audio"}
    opening = [] if system is None else [Message("system", (system,))]
    earlier = [Message(turn.role, (turn.text,)) for turn in turns]
    asked = Message("user", tuple(words), tuple(media[slot] for slot in prompt.slots))
    return apply_template(model, [*opening, *earlier, asked])


def _check_lengths(model: Model, prompt: Prompt) -> None:
    """Raise PairError for a sound that the processor would cut, the model has no positions for, or becomes no token."""
    for sound in prompt.sounds:
        if sound.seconds < SHORTEST:
            raise PairError(
                f"a sound is {sound.seconds:.3f} seconds long, too short to become a token; give one of {SHORTEST} "
                "seconds or more, or leave the pair out"
            )
        if sound.seconds > model.longest_sound:
            said = f" ({prompt.shown[:60]!r})" if prompt.shown else ""
            raise PairError(
                f"a sound{said} is {sound.seconds:.5g} seconds long, and model {model.name} hears at most "
                f"{model.longest_sound:g} seconds; shorten it, or leave the pair out"
            )


def _check_no_marks(model: Model, prompt: Prompt, words: Sequence[str]) -> None:
    """Raise PairError for words that the processor would take for an image or a sound, or part of one."""
    marks = marks_of(model)
    for said in (*words, prompt.system or "", *(turn.text for turn in prompt.turns)):
        found = next((mark for mark in marks if mark in said), None)
        if found:
            raise PairError(
                f"the prompt {said.strip()[:60]!r} holds {found!r}, which model {model.name} takes for an image or "
                "a sound and not for words; remove it, or leave the pair out"
            )
