"""Attributes of parts of a page that the browser's own script reads."""

from typing import Any


def sends(**values: str) -> dict[str, Any]:
    """data-* attributes: what a click on the part writes into the address."""
    return {f"data-{name}": value for name, value in values.items()}


def aria(**values: str) -> dict[str, Any]:
    """aria-* attributes: what the part is, for those who hear the page."""
    return {f"aria-{name}": value for name, value in values.items()}
