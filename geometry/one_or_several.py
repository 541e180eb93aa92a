"""Arguments that take one value or several; a single value or string counts as one."""

from collections.abc import Iterable
from operator import index
from typing import Any

from regap.errors import ConfigError


def as_names(given: Iterable[str] | str, name: str = "arms") -> tuple[str, ...]:
    """Return names as a tuple; raises ConfigError if there are none, or one is not a string."""
    found = (given,) if isinstance(given, str) else _several(given)
    wrong = [each for each in found if not isinstance(each, str) or not each]
    if wrong or not found:
        raise ConfigError(f"{name} is {wrong[0] if wrong else given!r}; give one name, or a list of names")
    return found


def as_layers(given: Iterable[int] | int, name: str = "layers") -> tuple[int, ...]:
    """Return layers or heads as a tuple; raises ConfigError unless they are distinct whole numbers, at least one."""
    several = _several(given)
    wrong = [each for each in several if not _is_whole(each)]
    if wrong:
        raise ConfigError(f"{name} is {wrong[0]!r}; give one whole number, or a list such as [3, 4]")
    found = tuple(index(each) for each in several)
    if not found or len(set(found)) < len(found) or min(found) < 0:
        one = name.rpartition("_")[2].removesuffix("s")
        raise ConfigError(f"{name} {list(found)} must be at least one {one}, each named once, none negative")
    return found


def _several(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else (given,)


def _is_whole(value: Any) -> bool:
    return hasattr(type(value), "__index__") and not isinstance(value, bool)
