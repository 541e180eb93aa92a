"""The names of the tokens of a prompt."""

from typing import Literal

Positions = Literal["last", "after_instruction", "image", "request", "template", "all"]
"""last: the last token; after_instruction: every token after the user's words and images; image: the tokens of the
image; request: the user's words; template: what nobody said; all: every token."""
