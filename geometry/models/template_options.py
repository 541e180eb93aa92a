"""What a chat template can be told besides the messages: its options, and the date."""

import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, meta, nodes

from regap.errors import ModelError

DAY = "2024-07-26"
"""The date that templates write if none is given: the same every day, so that prompts are the same too."""
GIVEN = ("messages", "add_generation_prompt", "continue_final_message", "bos_token", "eos_token", "pad_token")
"""Variables of templates that are not options."""
THINKING = ("enable_thinking", "thinking", "reasoning_effort")
"""Options by which templates let a model think before it answers."""


def check_options(name: str, processor: Any, given: Mapping[str, Any]) -> None:
    """Raise ModelError unless a chat template reads each of these options, and a given date is one."""
    known = options_of(text_of(processor))
    for option, value in given.items():
        if option == "date":
            try:
                date.fromisoformat(str(value))
            except ValueError:
                raise ModelError(
                    f"model {name}: template date is {value!r}; write it as 2026-01-31"
                ) from None
        elif option not in known:
            there = ", ".join(sorted(known)) or "none"
            raise ModelError(
                f"model {name}: its chat template does not read {option!r}; its options are: {there}, and date"
            )


def text_of(processor: Any) -> str:
    """Return the text of a processor's chat template; of several, the one named default."""
    template = processor.chat_template
    if isinstance(template, Mapping):
        template = template.get("default") or next(iter(template.values()))
    return str(template)


@lru_cache(maxsize=64)
def options_of(template: str) -> frozenset[str]:
    """Return the variables that a template reads besides the messages; none for one that cannot be read."""
    tree = parsed(template)
    return (
        frozenset()
        if tree is None
        else frozenset(meta.find_undeclared_variables(tree))
        - {
            *GIVEN,
            "raise_exception",
            "strftime_now",
            "namespace",
            "range",
            "dict",
        }
    )


def parsed(template: str) -> nodes.Template | None:
    """Return a template as jinja2 parses it; None for one that it cannot parse."""
    text = re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", template)  # a tag of transformers' own
    try:
        return Environment(extensions=["jinja2.ext.loopcontrols"]).parse(text)
    except (TemplateSyntaxError, RecursionError):
        return None
