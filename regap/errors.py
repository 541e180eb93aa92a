"""The errors of regap: one line each, which names the argument, its value and the remedy."""

import re

LONGEST = 600
"""Most letters of an error message."""
_END = 220
"""How many of them are kept from the end of a longer message, where the remedy stands."""
_BREAKS = re.compile(r"[ \t]*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+[ \t]*")
_UNSEEN = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters, marks that turn the direction of writing, and halves of surrogate pairs."""


def one_line(told: object, most: int = LONGEST) -> str:
    """Return a message as one line of at most `most` letters, without control characters.

    Line breaks become spaces, and other control characters their escapes. A longer message loses its middle, so that
    what it is about and its remedy stay.
    """
    line = _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], _BREAKS.sub(" ", str(told).strip()))
    if len(line) <= most:
        return line
    end = min(_END, most // 3)
    return f"{line[: most - end - 5]} ... {line[len(line) - end :]}"


class _OneLine(Exception):
    """An error whose message is one safe line, whatever a file, a model or another library put into it."""

    def __init__(self, *told: object) -> None:
        super().__init__(*(one_line(each) for each in told))


class PairError(_OneLine, ValueError):
    """The given pairs cannot be used."""


class DrawingError(PairError):
    """A picture has no room for a request, or no letters for it."""


class ModelError(_OneLine, ValueError):
    """The given model cannot be used."""


class ConfigError(_OneLine, ValueError):
    """A setting, or a run folder, cannot be used."""


class PackError(_OneLine, ValueError):
    """A correction pack, or a stored edit, cannot be used."""


class StoreError(_OneLine, OSError):
    """Results could not be written or read; finished results are kept."""


def first_line(error: BaseException) -> str:
    """Return the first line of another library's message, with the next one if it ends in a colon, at most 200
    letters; without a message, the kind of error."""
    first, *more = (str(error).strip() or type(error).__name__).splitlines()
    return one_line(f"{first} {more[0].strip()}" if more and first.endswith(":") else first, 200)
