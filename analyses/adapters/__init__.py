"""Adapters to other tools; each needs an extra, and is imported only when it is used."""

from importlib import import_module
from typing import Any

from regap.errors import ConfigError


def needed(module: str, extra: str) -> Any:
    """Return a module of an extra; raises ConfigError, with the install command, if it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{module} cannot be imported ({error}); install it with `pip install regap[{extra}]`"
        ) from None
