"""A position: the tokens of one role, one of them, or those of an image that carry the request."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from regap.errors import ConfigError
from regap.geometry.data.pairs import is_media_arm, is_speech_arm

Positions = str
"""A position as it is written: a role, `image[0]` for one token of a role, or `image:norm` for a rule."""
Role = Literal["last", "after_instruction", "image", "audio", "request", "user", "template", "all"]
"""last: the last token; after_instruction: every token after the user's message, images and sounds; image: the image
tokens; audio: the tokens of sounds; request: the user's words; user: the user's words, images and sounds; template: the
chat template; all: every token."""
Rule = Literal["attention", "norm", "blank", "ink"]
"""A rule that finds the image tokens that carry the request, without labels; see `regap.geometry.forward.carriers`.

attention: those that the last prompt token attends to most; norm: those with the longest states; blank: those farthest
from the same token of a plain picture; ink: those whose pixels vary."""
MEDIA: tuple[Role, ...] = ("image", "audio")
"""Roles that a prompt need not have: an edit at them does nothing there."""
RULED = "image"
"""The role whose tokens the rules choose from."""
_WRITTEN = re.compile(r"(\w+)(?:\[(0|-?[1-9]\d{0,5})\]|:(\w+))?")


def carrier_of(arm: str) -> Positions:
    """Return the position of the tokens that carry the request in an arm: `image`, `audio`, or in words `request`."""
    if not is_media_arm(arm):
        return "request"
    return "audio" if is_speech_arm(arm) else "image"


def forms() -> str:
    """Return every way to write a position, for messages."""
    rules = ", ".join(f"{RULED}:{rule}" for rule in get_args(Rule))
    return (
        f"{', '.join(get_args(Role))}; one token of a role, such as image[0] or request[-1]; or the image tokens that "
        f"carry the request, by a rule: {rules}"
    )


def _unknown(written: object) -> ConfigError:
    return ConfigError(f"position {written!r} is not known; choose one of {forms()}")


@dataclass(frozen=True)
class Position:
    """A position in its parts; it checks itself."""

    role: Role
    index: int | None = None
    """Which token of the role in each prompt: 0-based from its first one, negative from its last one. None: all."""
    rule: Rule | None = None
    """Which of the image tokens are meant. None: all."""

    def __post_init__(self) -> None:
        known = self.role in get_args(Role) and self.rule in (None, *get_args(Rule))
        if (
            not known
            or (self.rule and (self.role != RULED or self.index is not None))
            or (self.index is not None and self.role == "last")
        ):
            raise _unknown(str(self))

    @classmethod
    def of(cls, written: Positions) -> "Position":
        """Return the position that is written; raises ConfigError, with all forms, for any other text."""
        found = _WRITTEN.fullmatch(written) if isinstance(written, str) else None
        role, index, rule = found.groups() if found else ("", None, None)
        if role not in get_args(Role) or rule not in (None, *get_args(Rule)):
            raise _unknown(written)
        return cls(role, None if index is None else int(index), rule)  # type: ignore[arg-type]

    def __str__(self) -> str:
        part = "" if self.index is None else f"[{self.index}]"
        return f"{self.role}{part}{f':{self.rule}' if self.rule else ''}"

    @property
    def may_be_absent(self) -> bool:
        """True if a prompt without such tokens is no error: those of images and sounds, unless one of them is named."""
        return self.role in MEDIA and self.index is None
