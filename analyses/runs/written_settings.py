"""Settings that are written as text: numbers of blocks, FILE=REGAP and NAME=VALUE."""

import json
from contextlib import suppress
from typing import Any

from regap.errors import ConfigError, one_line

MOST_LAYERS = 10_000


def read_layers(told: str, name: str = "layers") -> tuple[int, ...]:
    """Return the numbers in a string such as 3-7,10, in order; raises ConfigError for anything else."""
    found: list[int] = []
    for part in told.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_layer(first) or (dash and not _is_layer(last)) or (dash and int(last) < int(first)):
            raise ConfigError(
                f"{name} are {one_line(told, 120)!r}; write numbers below {MOST_LAYERS:,} and ranges, such as 3-7,10"
            )
        found += range(int(first), int(last or first) + 1)
    if len(set(found)) < len(found):
        raise ConfigError(f"{name} are {one_line(told, 120)!r}; give each only once")
    return tuple(found)


def _is_layer(told: str) -> bool:
    return told.isdecimal() and len(told) <= len(str(MOST_LAYERS)) and int(told) < MOST_LAYERS


def mapping_of(given: tuple[str, ...]) -> dict[Any, str]:
    """Return settings written as FILE=REGAP as a mapping."""
    return dict(one.split("=", 1) for one in given)


def template_of(given: tuple[str, ...]) -> dict[str, Any]:
    """Return options written as NAME=VALUE as a mapping; a value that is JSON, such as false or 3, is read as that."""
    found: dict[str, Any] = mapping_of(given)
    for name, value in found.items():
        with suppress(ValueError):
            found[name] = json.loads(value)
    return found
